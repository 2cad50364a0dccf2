//! DescribeUserScramCredentials, as a broker answers that has no such user: nobody can log in yet. Tools that describe users ask for it beside their quotas.

use std::collections::HashSet;

use crate::wire::ErrorCode;
use crate::wire::describe_user_scram_credentials::*;

/// Nobody, or each user asked for as one who is not there; once, and who is asked for twice is told so.
pub fn describe(request: &DescribeUserScramCredentialsRequest) -> DescribeUserScramCredentialsResponse {
    let users = request.users.as_deref().unwrap_or_default();
    let mut seen = HashSet::new();
    let mut repeated = HashSet::new();
    let mut names = Vec::new();
    for user in users {
        match seen.insert(user.name.as_str()) {
            true => names.push(user.name.as_str()),
            false => drop(repeated.insert(user.name.as_str())),
        }
    }
    let result = |name: &str| {
        let (code, why) = match repeated.contains(name) {
            true => (
                ErrorCode::DuplicateResource,
                "Cannot describe SCRAM credentials for the same user twice in a single request",
            ),
            false => (
                ErrorCode::ResourceNotFound,
                "Attempt to describe a user credential that does not exist",
            ),
        };
        DescribeUserScramCredentialsResult {
            user: name.to_owned(),
            error_code: code.into(),
            error_message: Some(format!("{why}: {name}")),
            ..Default::default()
        }
    };
    DescribeUserScramCredentialsResponse {
        // Kafka sends an empty message, not none.
        error_message: Some(String::new()),
        results: names.into_iter().map(result).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(users: Option<&[&str]>) -> Vec<(String, i16, String)> {
        let user = |name: &&str| UserName {
            name: (*name).to_owned(),
        };
        let users = users.map(|users| users.iter().map(user).collect());
        let response = describe(&DescribeUserScramCredentialsRequest { users });
        assert_eq!(
            (response.error_code, response.error_message.as_deref()),
            (0, Some(""))
        );
        let row = |one: DescribeUserScramCredentialsResult| {
            assert!(one.credential_infos.is_empty());
            (one.user, one.error_code, one.error_message.unwrap_or_default())
        };
        response.results.into_iter().map(row).collect()
    }

    #[test]
    fn there_is_nobody() {
        assert_eq!((told(None), told(Some(&[]))), (vec![], vec![]));
        let absent = |name: &str| {
            let message = format!("Attempt to describe a user credential that does not exist: {name}");
            (name.to_owned(), 91, message)
        };
        assert_eq!(told(Some(&["bob", "al"])), [absent("bob"), absent("al")]);
        let twice = "Cannot describe SCRAM credentials for the same user twice in a single request: bob";
        assert_eq!(
            told(Some(&["bob", "al", "bob", "bob"])),
            [("bob".to_owned(), 92, twice.to_owned()), absent("al")]
        );
    }
}
