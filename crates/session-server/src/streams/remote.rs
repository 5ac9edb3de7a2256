//! Streams in another Durable Streams server.

use async_trait::async_trait;
use axum::{body::Body, http::Request, response::Response};
use bytes::Bytes;
use url::Url;

use super::{Listed, Stamp, StreamError, Streams};
use crate::error::ServerError;

/// Streams reached by HTTP.
pub(crate) struct Remote {}

impl Remote {
    pub(crate) fn new(url: &Url) -> Result<Self, ServerError> {
        Err(ServerError::StreamsUrl(url.clone()))
    }
}

#[async_trait]
impl Streams for Remote {
    async fn create(&self, _name: &str) -> Result<bool, StreamError> {
        Err(StreamError::NotFound)
    }

    async fn append(&self, _: &str, _: Vec<Bytes>, _: &Stamp) -> Result<(), StreamError> {
        Err(StreamError::NotFound)
    }

    async fn read(&self, _name: &str) -> Result<Vec<Bytes>, StreamError> {
        Err(StreamError::NotFound)
    }

    async fn exists(&self, _name: &str) -> Result<bool, StreamError> {
        Err(StreamError::NotFound)
    }

    async fn delete(&self, _name: &str) -> Result<(), StreamError> {
        Err(StreamError::NotFound)
    }

    async fn list(&self) -> Result<Option<Vec<Listed>>, StreamError> {
        Ok(None)
    }

    async fn serve(&self, _request: Request<Body>) -> Response {
        Response::default()
    }
}
