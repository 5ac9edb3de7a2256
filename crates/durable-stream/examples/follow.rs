//! Prints a stream, and what is appended to it from now on: `cargo run --example follow -- URL`.

use durable_stream::{Client, Live, Offset};
use futures::TryStreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("which stream? Give its URL.")?;
    let mut batches = Client::new().stream(url.parse()?).follow(Offset::Beginning, Live::Auto);
    while let Some(batch) = batches.try_next().await? {
        for item in &batch.items {
            println!("{}", String::from_utf8_lossy(item));
        }
    }
    Ok(())
}
