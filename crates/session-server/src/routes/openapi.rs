//! The OpenAPI document: paths and bodies come from the handlers, roles from the table in `access`.

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use session_protocol::api::{PROBLEM_JSON, Problem, TokenRole, path};
use utoipa::{
    OpenApi,
    openapi::{self, InfoBuilder, OpenApiBuilder},
};

use crate::access::{self, Need};
use crate::names::MAX_ID;

/// The document as it is sent.
#[derive(Clone)]
pub(super) struct Document(pub(super) Bytes);

#[derive(OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Components;

/// The document that the routes are added to.
pub(super) fn begin() -> openapi::OpenApi {
    let info = InfoBuilder::new()
        .title("Threadkeep session server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(format!(
            "Durable AI sessions. A session is one Durable Stream, read at {}; these routes write it. Named tokens act \
             under their own name, whatever actorId a body gives.",
            path::SESSION_STREAM
        )))
        .build();
    let mut api = OpenApiBuilder::new().info(info).build();
    api.merge(Components::openapi());
    api
}

/// Adds what is the same everywhere: path parameters, who may call, how errors look.
pub(super) fn finish(api: &openapi::OpenApi) -> Document {
    let mut document = serde_json::to_value(api).expect("the document is plain data");
    document["components"]["securitySchemes"] =
        json!({"token": {"type": "http", "scheme": "bearer"}});
    let paths = document["paths"].as_object_mut().expect("the document has paths");
    for (path, item) in paths {
        let item = item.as_object_mut().expect("a path item is an object");
        for (method, operation) in item {
            let operation = operation.as_object_mut().expect("an operation is an object");
            describe(path, method, operation);
        }
    }
    Document(document.to_string().into())
}

fn describe(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let id = format!("{method}{}", path.replace(['/', '{', '}', '-', '.'], "_"));
    operation.insert("operationId".to_owned(), id.into());
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let parameters = parameters.as_array_mut().expect("parameters are a list");
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({
            "name": name, "in": "path", "required": true,
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": r"^[^/\\?#\x00-\x1f\x7f]+$"},
        }));
    }
    let method = method.to_ascii_uppercase().parse().expect("methods of the document are HTTP's");
    let need = access::needed(&method, Some(path));
    let (role, security) = match need {
        Need::Nothing => ("nobody", json!([])),
        Need::Token => ("any", json!([{"token": []}])),
        Need::InSession(role) | Need::Everywhere(role) => {
            (TokenRole::as_str(role), json!([{"token": []}]))
        }
        Need::Owner => ("owner", json!([{"token": []}])),
    };
    operation.insert("x-role".to_owned(), role.into());
    operation.insert("x-all-sessions".to_owned(), matches!(need, Need::Everywhere(_)).into());
    operation.insert("security".to_owned(), security);
    for answer in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if answer.get("description").is_none() {
            answer["description"] = "Done".into();
        }
    }
    operation["responses"]["default"] = json!({
        "description": "An error, as RFC 9457 has it",
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
}

#[cfg(test)]
mod tests {
    use session_protocol::api::{self, Request};

    use super::*;

    #[test]
    fn the_table_of_roles_has_the_documents_routes_and_no_others() {
        let Document(json) = finish(&super::super::documented().1);
        let document: Value = serde_json::from_slice(&json).unwrap();
        let mut routes: Vec<(String, String)> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys();
            routes.extend(methods.map(|method| (method.to_ascii_uppercase(), path.clone())));
        }
        let mut table: Vec<(String, String)> = access::ROUTES
            .iter()
            .filter(|(_, path, _)| !path.contains('*')) // the protocol's, not in the document
            .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        routes.sort();
        table.sort();
        assert_eq!(routes, table);
    }

    #[test]
    fn each_request_of_the_contract_is_the_body_of_its_route() {
        fn route<R: Request>() -> (&'static str, &'static str, &'static str) {
            let name = std::any::type_name::<R>().rsplit("::").next().expect("a type has a name");
            (R::METHOD.as_str(), R::PATH, name)
        }
        let requests = [
            route::<api::CreateSession>(),
            route::<api::RenameSession>(),
            route::<api::ForkSession>(),
            route::<api::ResetSession>(),
            route::<api::SendMessage>(),
            route::<api::Regenerate>(),
            route::<api::Stop>(),
            route::<api::RegisterAgents>(),
            route::<api::AskForWork>(),
            route::<api::BridgeOutput>(),
            route::<api::SetAgentOption>(),
            route::<api::ChooseFolder>(),
            route::<api::PutLocalAgent>(),
            route::<api::AnswerApproval>(),
            route::<api::SwitchToolServer>(),
            route::<api::DecideTool>(),
            route::<api::TestToolServer>(),
            route::<api::GiveToolResult>(),
            route::<api::AnswerQuestions>(),
            route::<api::LogIn>(),
            route::<api::LogOut>(),
            route::<api::WriteChunk>(),
            route::<api::WriteChunks>(),
            route::<api::FinishGeneration>(),
        ];
        let Document(json) = finish(&super::super::documented().1);
        let document: Value = serde_json::from_slice(&json).unwrap();
        let mut bodies = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                // An optional body is null or the type.
                let named = schema.to_string();
                let Some((_, named)) = named.split_once("#/components/schemas/") else { continue };
                let named = named.split('"').next().unwrap();
                let method = method.to_ascii_uppercase();
                assert!(requests.contains(&(&method, path, named)), "{method} {path} {named}");
                bodies += 1;
            }
        }
        assert_eq!(bodies, requests.len());
    }
}
