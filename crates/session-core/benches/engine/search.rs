//! Finding words in everything that is stored.

use std::path::Path;
use std::time::{Duration, Instant};

use session_core::SearchRequest;

use crate::{Row, engine, median, millis, runtime};

const TURNS: usize = 11;
/// A rare word, common ones, a phrase's worth, a prefix.
const QUERIES: [&str; 4] = ["café", "the people", "first water oil", "wor"];

pub(crate) fn run(dir: &Path) -> Vec<Row> {
    runtime().block_on(async {
        let engine = engine(dir);
        let (mut worst, mut found) = ((Duration::ZERO, ""), Vec::<u32>::new());
        for query in QUERIES {
            let mut times = Vec::new();
            for _ in 0..TURNS {
                let started = Instant::now();
                let request = SearchRequest {
                    query: query.to_owned(),
                    session_id: None,
                    offset: 0,
                    limit: 50,
                };
                let page = engine.search(request).await.unwrap();
                times.push(started.elapsed());
                if times.len() == TURNS {
                    found.push(page.total);
                }
            }
            let time = median(&mut times);
            println!("search {query:?}: {:.1} ms", millis(time));
            worst = worst.max((time, query));
        }
        engine.close().await;
        vec![Row::new(
            "search over 1,101,000 chunks' worth of messages",
            "at most 50 ms",
            format!("slowest {:.1} ms ({:?}); hits {found:?}", millis(worst.0), worst.1),
            millis(worst.0) <= 50.0 && found.iter().all(|hits| *hits > 0),
        )]
    })
}
