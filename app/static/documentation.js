// Shows the OpenAPI document of this service. A file of its own: the page allows no inline script.
addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("documentation");
  SwaggerUIBundle({
    domNode: place,
    url: place.dataset.document,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    // Keys and tokens stay in the page and are gone with it.
    persistAuthorization: false,
    // The document is sent to nobody to be judged.
    validatorUrl: null,
  });
});
