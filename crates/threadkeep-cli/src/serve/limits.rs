//! The limits of `threadkeep serve`: one line of a table for each.

use session_server::{Limits, StreamLimits};

use crate::seconds::Seconds;

/// A group of flags that set the fields of a structure, whose defaults are theirs. A line is the
/// help, the field, the type on the command line, the flag, its variable and what its value is.
macro_rules! flags {
    ($(#[$about:meta])* $name:ident of $target:ty { $(
        $(#[$help:meta])+
        $field:ident: $kind:ty = $flag:literal, $variable:literal, $value:literal;
    )* }) => {
        $(#[$about])*
        #[derive(clap::Args)]
        pub(super) struct $name { $(
            $(#[$help])+
            #[arg(
                long = $flag,
                env = $variable,
                value_name = $value,
                default_value_t = <$kind>::from(Wrap(<$target>::default().$field)),
            )]
            $field: $kind,
        )* }

        impl $name {
            /// The fields that have a flag here.
            #[cfg(test)]
            const FIELDS: &[&str] = &[$(stringify!($field)),*];

            pub(super) fn apply(self, target: &mut $target) {
                $(target.$field = self.$field.into();)*
            }
        }
    };
}

/// A default, as it is shown.
struct Wrap<T>(T);

impl From<Wrap<usize>> for usize {
    fn from(Wrap(number): Wrap<usize>) -> Self {
        number
    }
}

impl From<Wrap<u32>> for u32 {
    fn from(Wrap(number): Wrap<u32>) -> Self {
        number
    }
}

impl From<Wrap<u64>> for u64 {
    fn from(Wrap(number): Wrap<u64>) -> Self {
        number
    }
}

impl From<Wrap<std::time::Duration>> for Seconds {
    fn from(Wrap(time): Wrap<std::time::Duration>) -> Self {
        Self(time)
    }
}

flags! {
    /// Limits of what one client may send and make the server hold.
    LimitArgs of Limits {
        /// Requests a second that one token, or one address without a token, may send; 0 is no
        /// limit.
        ///
        /// Of the polls of readers who follow a session there may be 50 times as many.
        requests_per_second: u32 = "rate-limit", "THREADKEEP_RATE_LIMIT", "N";

        /// Bytes of a request body.
        body_bytes: usize = "max-body", "THREADKEEP_MAX_BODY", "BYTES";

        /// Bytes of one direct write to a stream.
        stream_body_bytes: usize = "max-stream-body", "THREADKEEP_MAX_STREAM_BODY", "BYTES";

        /// Connections at once.
        connections: usize = "max-connections", "THREADKEEP_MAX_CONNECTIONS", "N";

        /// Connections of one address at once; addresses of this machine may have all.
        connections_per_address: usize =
            "max-connections-per-address", "THREADKEEP_MAX_CONNECTIONS_PER_ADDRESS", "N";

        /// Requests that one HTTP/2 connection may have at once.
        streams_per_connection: u32 =
            "max-requests-per-connection", "THREADKEEP_MAX_REQUESTS_PER_CONNECTION", "N";

        /// Bytes held at once for others: output that waits, answers under way, history of runs.
        held_bytes: usize = "max-held", "THREADKEEP_MAX_HELD", "BYTES";

        /// Bytes of these that one session, client or agent may have.
        held_bytes_each: usize = "max-held-each", "THREADKEEP_MAX_HELD_EACH", "BYTES";

        /// Bytes of a display name.
        name_bytes: usize = "max-name", "THREADKEEP_MAX_NAME", "BYTES";

        /// Bytes of what is merged into an agent's requests.
        template_bytes: usize = "max-template", "THREADKEEP_MAX_TEMPLATE", "BYTES";

        /// Bytes of the headers that an agent is sent.
        agent_header_bytes: usize = "max-agent-headers", "THREADKEEP_MAX_AGENT_HEADERS", "BYTES";

        /// Bytes of one line, event or chunk that an agent or a model answers.
        chunk_bytes: usize = "max-chunk", "THREADKEEP_MAX_CHUNK", "BYTES";

        /// Bytes of all that an agent or a model answers to one request.
        answer_bytes: u64 = "max-answer", "THREADKEEP_MAX_ANSWER", "BYTES";

        /// Bytes of the arguments of one call that a model makes.
        arguments_bytes: usize = "max-arguments", "THREADKEEP_MAX_ARGUMENTS", "BYTES";

        /// Bytes of the messages that an agent is given; of a longer session it gets the newest.
        history_bytes: usize = "max-history", "THREADKEEP_MAX_HISTORY", "BYTES";

        /// Time that the head of a request may take.
        ///
        /// Also how long a connection may rest between two requests.
        head: Seconds = "head-timeout", "THREADKEEP_HEAD_TIMEOUT", "SECONDS";

        /// Time that the next piece of a request body may take.
        body_pause: Seconds = "body-timeout", "THREADKEEP_BODY_TIMEOUT", "SECONDS";

        /// Time that a reader may take nothing of an answer that is ready before it is cut.
        answer_pause: Seconds = "answer-timeout", "THREADKEEP_ANSWER_TIMEOUT", "SECONDS";
    }
}

flags! {
    /// Limits of reading and writing the streams in the data folder.
    StreamArgs of StreamLimits {
        /// Messages of one append to a stream.
        append_messages: usize = "max-append", "THREADKEEP_MAX_APPEND", "N";

        /// Time that a long poll waits for something new, in whole seconds.
        long_poll: Seconds = "long-poll", "THREADKEEP_LONG_POLL", "SECONDS";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of a structure's fields, as `Debug` shows them.
    fn fields(shown: &str) -> Vec<String> {
        let inside = shown.split_once('{').unwrap().1;
        let names = inside.split(", ").filter_map(|field| field.split_once(": "));
        names.map(|(name, _)| name.trim().to_owned()).collect()
    }

    #[test]
    fn every_limit_has_a_flag() {
        // Those with a flag of their own in `serve`: they have no default, or one that is another
        // flag's.
        let own = ["burst", "stream_bytes", "total_bytes"];
        for field in fields(&format!("{:?}", Limits::default()))
            .into_iter()
            .chain(fields(&format!("{:?}", StreamLimits::default())))
        {
            let has = LimitArgs::FIELDS.iter().chain(StreamArgs::FIELDS).chain(&own);
            assert!(has.into_iter().any(|has| *has == field), "{field} has a line in the table");
        }
    }
}
