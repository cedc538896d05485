//! What is shown to a store to be let in, in words: the first thing to know of a 403.
//!
//! The chains themselves are `object_store`'s; this tells which of their links holds, in their order.

use super::place::Scheme;

/// The link of the chain that holds. `set` gives a variable of the environment.
pub fn credentials(scheme: Scheme, set: impl Fn(&str) -> bool) -> &'static str {
    let links: &[(&[&str], &'static str)] = match scheme {
        Scheme::S3 => &[
            (&["AWS_SKIP_SIGNATURE"], "nobody's credentials (AWS_SKIP_SIGNATURE)"),
            (&["AWS_ACCESS_KEY_ID"], "the key in AWS_ACCESS_KEY_ID"),
            (
                &["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"],
                "the web identity in AWS_WEB_IDENTITY_TOKEN_FILE",
            ),
            (
                &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
                "the task's role (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI)",
            ),
            (
                &["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"],
                "the pod's identity (AWS_CONTAINER_CREDENTIALS_FULL_URI)",
            ),
            (&[], "the instance's role (IMDS; no AWS_ variable gives a key or an identity)"),
        ],
        Scheme::Gs => &[
            (&["GOOGLE_SKIP_SIGNATURE"], "nobody's credentials (GOOGLE_SKIP_SIGNATURE)"),
            (&["GOOGLE_SERVICE_ACCOUNT"], "the account in GOOGLE_SERVICE_ACCOUNT"),
            (&["GOOGLE_SERVICE_ACCOUNT_PATH"], "the account in GOOGLE_SERVICE_ACCOUNT_PATH"),
            (&["GOOGLE_SERVICE_ACCOUNT_KEY"], "the account in GOOGLE_SERVICE_ACCOUNT_KEY"),
            (
                &["GOOGLE_APPLICATION_CREDENTIALS"],
                "the credentials in GOOGLE_APPLICATION_CREDENTIALS",
            ),
            (&[], "gcloud's default credentials, or the instance's account (metadata server)"),
        ],
        Scheme::Az => &[
            (&["AZURE_SKIP_SIGNATURE"], "nobody's credentials (AZURE_SKIP_SIGNATURE)"),
            (&["AZURE_STORAGE_ACCOUNT_KEY"], "the key in AZURE_STORAGE_ACCOUNT_KEY"),
            (
                &["AZURE_FEDERATED_TOKEN_FILE"],
                "the workload identity in AZURE_FEDERATED_TOKEN_FILE",
            ),
            (&["AZURE_CLIENT_SECRET"], "the client of AZURE_CLIENT_SECRET"),
            (&["AZURE_STORAGE_SAS_KEY"], "the token in AZURE_STORAGE_SAS_KEY"),
            (&[], "the instance's managed identity (IMDS; no AZURE_ variable gives another)"),
        ],
        Scheme::Https | Scheme::Http => &[(&[], "nobody's credentials")],
        Scheme::File => &[(&[], "the server's user")],
    };
    let holds = links.iter().find(|(variables, _)| variables.iter().all(|v| set(v)));
    holds.map_or("nobody's credentials", |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_link_that_holds_is_told() {
        let told = |scheme, set: &[&str]| credentials(scheme, |name| set.contains(&name));
        let web = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"];
        assert!(told(Scheme::S3, &web).contains("web identity"));
        assert!(told(Scheme::S3, &web[..1]).contains("IMDS"));
        assert!(told(Scheme::S3, &[&web[..], &["AWS_ACCESS_KEY_ID"]].concat()).contains("key in"));
        assert!(told(Scheme::Gs, &[]).contains("metadata server"));
        assert!(told(Scheme::Az, &["AZURE_FEDERATED_TOKEN_FILE"]).contains("workload identity"));
        assert_eq!(told(Scheme::Https, &web), "nobody's credentials");
    }
}
