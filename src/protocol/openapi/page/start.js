// No validator: it would be asked over the network.
SwaggerUIBundle({
    dom_id: "#page",
    url: "openapi.json",
    validatorUrl: null,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: false,
});
