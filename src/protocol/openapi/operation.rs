//! One operation of a document, from the types of what it takes and gives.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::{Response, ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Content, ContentBuilder, HttpMethod, KnownFormat, Ref, RefOr, Required, Schema,
};

use crate::error::Code;
use crate::protocol::http::ErrorBody;

/// A named schema.
pub type Named = (String, RefOr<Schema>);

/// An operation, and the schemas that it speaks of.
pub struct Operation {
    /// How it is called.
    pub method: HttpMethod,
    /// Where.
    pub path: String,
    /// What its bodies refer to.
    pub schemas: Vec<Named>,
    parts: OperationBuilder,
    responses: ResponsesBuilder,
    body: RequestBody,
    open: bool,
}

impl Operation {
    /// `GET path`. The name is how generated clients call it.
    pub fn get(path: &str, name: &str, summary: &str) -> Operation {
        Operation::new(HttpMethod::Get, path, name, summary)
    }

    /// `POST path`.
    pub fn post(path: &str, name: &str, summary: &str) -> Operation {
        Operation::new(HttpMethod::Post, path, name, summary)
    }

    /// `PUT path`.
    pub fn put(path: &str, name: &str, summary: &str) -> Operation {
        Operation::new(HttpMethod::Put, path, name, summary)
    }

    /// `DELETE path`.
    pub fn delete(path: &str, name: &str, summary: &str) -> Operation {
        Operation::new(HttpMethod::Delete, path, name, summary)
    }

    fn new(method: HttpMethod, path: &str, name: &str, summary: &str) -> Operation {
        let parts = OperationBuilder::new().operation_id(Some(name)).summary(Some(summary));
        let operation = Operation {
            method,
            path: path.to_owned(),
            schemas: Vec::new(),
            parts,
            responses: ResponsesBuilder::new(),
            body: RequestBody::new(),
            open: false,
        };
        operation
            .header("x-request-id", "Given back with the answer; one is made if there is none.")
    }

    /// What there is to say that the types don't.
    pub fn told(mut self, description: &str) -> Operation {
        self.parts = self.parts.description(Some(description));
        self
    }

    /// Needs no key.
    pub fn open(mut self) -> Operation {
        self.open = true;
        self
    }

    /// A part of the path.
    pub fn segment(self, name: &str, what: &str, schema: Object) -> Operation {
        let parameter = named(name, ParameterIn::Path, what).required(Required::True);
        self.parameter(parameter.schema(Some(schema)).build())
    }

    /// A header that may be sent.
    pub fn header(self, name: &str, what: &str) -> Operation {
        let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(128)).build();
        self.header_of(name, what, text)
    }

    /// A header that may be sent, of this schema.
    pub fn header_of(self, name: &str, what: &str, schema: Object) -> Operation {
        self.parameter(named(name, ParameterIn::Header, what).schema(Some(schema)).build())
    }

    /// A query that may be made.
    pub fn query(self, name: &str, what: &str, schema: Object) -> Operation {
        self.parameter(named(name, ParameterIn::Query, what).schema(Some(schema)).build())
    }

    fn parameter(mut self, parameter: Parameter) -> Operation {
        self.parts = self.parts.parameter(parameter);
        self
    }

    /// JSON that is taken, with an example that is answered.
    pub fn takes<T: ToSchema>(mut self, required: Required, example: Value) -> Operation {
        let content = self.content::<T>().example(Some(example)).build();
        self.body.required = Some(required);
        self.taking("application/json", content)
    }

    /// Bytes that are taken, of each of these media types.
    pub fn takes_bytes(self, kinds: &[&str]) -> Operation {
        kinds.iter().fold(self, |this, kind| this.taking(kind, Content::new(Some(bytes()))))
    }

    /// A form that is taken.
    pub fn takes_form<T: ToSchema>(mut self) -> Operation {
        let content = self.content::<T>().build();
        self.taking("multipart/form-data", content)
    }

    fn taking(mut self, kind: &str, content: Content) -> Operation {
        self.body.content.insert(kind.to_owned(), content.into());
        self
    }

    /// JSON that is answered.
    pub fn gives<T: ToSchema>(self, what: &str) -> Operation {
        self.gives_with::<T>(200, &[], what)
    }

    /// JSON that is answered with a status.
    pub fn gives_with<T: ToSchema>(
        mut self,
        status: u16,
        headers: &[(&str, &str)],
        what: &str,
    ) -> Operation {
        let content = self.content::<T>().build();
        self.giving(status, headers, what, vec![("application/json", content)])
    }

    /// JSON or bytes that are answered, as was asked.
    pub fn gives_either<T: ToSchema>(
        mut self,
        kind: &str,
        headers: &[(&str, &str)],
        what: &str,
    ) -> Operation {
        let content = self.content::<T>().build();
        let bytes = Content::new(Some(bytes()));
        self.giving(200, headers, what, vec![("application/json", content), (kind, bytes)])
    }

    /// Text that is answered.
    pub fn gives_text(self, kind: &str, what: &str) -> Operation {
        let text = Content::new(Some(Object::with_type(Type::String)));
        self.giving(200, &[], what, vec![(kind, text)])
    }

    fn giving(
        mut self,
        status: u16,
        headers: &[(&str, &str)],
        what: &str,
        contents: Vec<(&str, Content)>,
    ) -> Operation {
        let mut response = response(what);
        for (name, what) in headers {
            response = response.header(*name, header(what));
        }
        for (kind, content) in contents {
            response = response.content(kind, content);
        }
        self.responses = self.responses.response(status.to_string(), response.build());
        self
    }

    /// Ways to fail beside those that every operation has.
    pub fn fails(mut self, codes: &[Code]) -> Operation {
        for code in codes {
            let fault = self.fault(*code);
            self.responses = self.responses.response(code.http().to_string(), fault);
        }
        self
    }

    fn fault(&mut self, code: Code) -> Response {
        let mut response = response(meaning(code))
            .content("application/json", self.content::<ErrorBody>().build());
        if matches!(code, Code::ResourceExhausted | Code::Unavailable) {
            response = response.header("retry-after", header("Seconds to wait, where known."));
        }
        if code == Code::Unauthenticated {
            response = response.header("www-authenticate", header("`Bearer`."));
        }
        response.build()
    }

    /// The operation as the document has it.
    pub fn build(
        mut self,
        tag: &str,
    ) -> (String, HttpMethod, utoipa::openapi::path::Operation, Vec<Named>) {
        self = match self.open {
            true => self.fails(&[Code::Internal]),
            false => self.fails(&[
                Code::Unauthenticated,
                Code::PermissionDenied,
                Code::ResourceExhausted,
                Code::Internal,
            ]),
        };
        let mut parts = self.parts.tag(tag).responses(self.responses);
        if self.open {
            parts = parts.securities(Some(Vec::<SecurityRequirement>::new()));
        }
        if !self.body.content.is_empty() {
            parts = parts.request_body(Some(self.body));
        }
        (self.path, self.method, parts.build(), self.schemas)
    }

    /// A body of this type, whose schema is noted.
    fn content<T: ToSchema>(&mut self) -> ContentBuilder {
        let name = T::name().into_owned();
        let reference = Ref::from_schema_name(&name);
        self.schemas.push((name, T::schema()));
        T::schemas(&mut self.schemas);
        ContentBuilder::new().schema(Some(reference))
    }
}

fn named(name: &str, place: ParameterIn, what: &str) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).description(Some(what))
}

fn response(what: &str) -> ResponseBuilder {
    let id = header("The request's id: the caller's own, or a new one.");
    ResponseBuilder::new().description(what).header("x-request-id", id)
}

fn header(what: &str) -> Header {
    let mut header = Header::new(Object::with_type(Type::String));
    header.description = Some(what.to_owned());
    header
}

fn bytes() -> Object {
    let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build()
}

/// What a status is answered for.
fn meaning(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "The request is wrong, and stays wrong.",
        Code::TooLarge => "The body is larger than `--max-body-bytes`.",
        Code::UnsupportedMedia => "The body's type or encoding is none that is read here.",
        Code::NotFound => "No such model or version.",
        Code::FailedPrecondition | Code::Aborted => {
            "It contradicts what is there, or somebody else changed the same thing first."
        }
        Code::Unauthenticated => "No key came, or one that is not known.",
        Code::PermissionDenied => "The key may not, or the server was not started to allow it.",
        Code::ResourceExhausted => "More requests than the key's rate allows.",
        Code::DeadlineExceeded => "The time the request had is over.",
        Code::Cancelled => "The caller went away.",
        Code::Unavailable => "It can't be served now; the same request may succeed later.",
        Code::Unimplemented => "A part of the protocol that is left out on purpose.",
        Code::Internal => "The server's own fault.",
    }
}
