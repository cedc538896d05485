//! Operations into a document.

use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths,
};

use super::operation::Operation;

/// Operations that belong together.
pub struct Group {
    /// Their heading.
    pub name: &'static str,
    /// What they are.
    pub what: &'static str,
    /// Themselves.
    pub operations: Vec<Operation>,
}

/// A document of these operations.
pub fn document(title: &str, groups: Vec<Group>) -> OpenApi {
    let mut paths = Paths::new();
    let (mut tags, mut schemas): (Vec<Tag>, _) = (Vec::new(), Vec::new());
    for group in groups {
        tags.push(TagBuilder::new().name(group.name).description(Some(group.what)).build());
        for operation in group.operations {
            let (path, method, built, of) = operation.build(group.name);
            let item = PathItem::new(method, built);
            match paths.paths.get_mut(&path) {
                Some(there) => there.merge_operations(item),
                None => drop(paths.paths.insert(path, item)),
            }
            schemas.extend(of);
        }
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let key = ApiKey::Header(ApiKeyValue::new("x-api-key"));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("key", SecurityScheme::ApiKey(key));
    let none: [&str; 0] = [];
    // The last says that there need be none: without `--keys-file` nobody is asked for a key.
    let security = [
        SecurityRequirement::new("bearer", none),
        SecurityRequirement::new("key", none),
        SecurityRequirement::default(),
    ];
    let licence = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title(title)
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .license(Some(licence));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .security(Some(security))
        .tags(Some(tags))
        .build()
}
