//! HTTP clients for systems that may have no CA certificates.

use std::error::Error;
use std::io;
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};

/// A client could be made without the system's CA certificates only.
static NONE: AtomicBool = AtomicBool::new(false);

/// A sentence for people: what is missing when [`lacks_certificates`] is true, and what to do.
///
/// # Examples
///
/// ```
/// fn sentence(error: &reqwest::Error) -> String {
///     if durable_stream::lacks_certificates(error) {
///         durable_stream::NO_CERTIFICATES.to_owned()
///     } else {
///         error.to_string()
///     }
/// }
/// # let _ = sentence;
/// ```
pub const NO_CERTIFICATES: &str = "This system has no CA certificates, so no HTTPS server can be trusted. Install \
     them (the package ca-certificates) or name a file of them in SSL_CERT_FILE, then start the program again.";

/// Makes an HTTP client, also where the system has no CA certificates: loopback and plain HTTP work
/// there as everywhere, and an HTTPS request fails (see [`lacks_certificates`]). Without this no
/// client could be made at all.
///
/// `builder` is asked again when the first client cannot be made. The system's certificates are
/// then not looked for again.
///
/// # Errors
///
/// The client cannot be made for another reason: its proxy, its resolver or its own certificates.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let http = durable_stream::http_client(|| {
///     reqwest::Client::builder().connect_timeout(Duration::from_secs(10))
/// })?;
/// # let _ = http;
/// # Ok::<(), reqwest::Error>(())
/// ```
pub fn http_client(
    builder: impl Fn() -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, reqwest::Error> {
    let bare = || builder().tls_certs_only([]).build();
    if NONE.load(Ordering::Relaxed) {
        return bare();
    }
    builder().build().or_else(|_| {
        let client = bare()?;
        NONE.store(true, Ordering::Relaxed);
        Ok(client)
    })
}

/// Whether a request failed because the system has no CA certificates.
///
/// # Examples
///
/// ```no_run
/// # async fn run(http: reqwest::Client) {
/// if let Err(error) = http.get("https://streams.example.org").send().await
///     && durable_stream::lacks_certificates(&error)
/// {
///     eprintln!("{}", durable_stream::NO_CERTIFICATES);
/// }
/// # }
/// ```
#[must_use]
pub fn lacks_certificates(error: &reqwest::Error) -> bool {
    let in_tls = iter::successors(error.source(), |&cause| beneath(cause)).any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        // TLS reports what it does not trust as invalid data.
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
    });
    NONE.load(Ordering::Relaxed) && error.is_connect() && in_tls
}

/// The error beneath another. An I/O error does not give the error that it wraps as its source.
fn beneath<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| cause.source())
}
