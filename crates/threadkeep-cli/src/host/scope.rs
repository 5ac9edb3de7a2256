//! A scope of its own in the person's systemd: desktops end an app's scope with the app, and
//! everything that it started.
//!
//! `org.freedesktop.systemd1.Manager.StartTransientUnit`, systemd's D-Bus interface. A logout ends
//! the scope with the person's other programs; that is right. Where there is no such systemd,
//! nothing has to be left.

use std::path::PathBuf;

/// Moves this process out of whatever scope it was started in.
///
/// # Cancel safety
///
/// It is done or it is not.
#[cfg(target_os = "linux")]
pub(super) async fn move_out(data: PathBuf) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
    match tokio::time::timeout(PATIENCE, start_unit(&data)).await {
        Ok(Ok(())) => tracing::debug!("the host has a scope of its own"),
        Ok(Err(error)) => tracing::debug!(%error, "the host stays in its scope"),
        Err(_) => tracing::debug!("the host stays in its scope: systemd does not answer"),
    }
}

/// There are no scopes here.
#[cfg(not(target_os = "linux"))]
pub(super) async fn move_out(_data: PathBuf) {}

#[cfg(target_os = "linux")]
async fn start_unit(data: &std::path::Path) -> zbus::Result<()> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use zbus::zvariant::{OwnedObjectPath, Value};

    let mut folder = DefaultHasher::new();
    data.hash(&mut folder);
    let name = format!("threadkeep-host-{:016x}-{}.scope", folder.finish(), std::process::id());
    let properties = [
        ("Description", Value::from("Agents of Threadkeep")),
        ("PIDs", Value::from(vec![std::process::id()])),
        ("CollectMode", Value::from("inactive-or-failed")),
        ("Slice", Value::from("background.slice")),
    ];
    let no_others: [(&str, Vec<(&str, Value<'_>)>); 0] = [];
    let bus = zbus::Connection::session().await?;
    let unit = (name.as_str(), "fail", properties.as_slice(), no_others.as_slice());
    let answer = bus.call_method(
        Some("org.freedesktop.systemd1"),
        "/org/freedesktop/systemd1",
        Some("org.freedesktop.systemd1.Manager"),
        "StartTransientUnit",
        &unit,
    );
    answer.await?.body().deserialize::<OwnedObjectPath>().map(drop)
}
