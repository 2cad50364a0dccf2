//! DescribeUserScramCredentials: which users can log in by SCRAM, and how their passwords are kept (KIP-554).

use crate::wire::schema::schema;

schema! {
    message DescribeUserScramCredentialsRequest 0-0 flexible 0+ {
        users: Option<Vec<UserName>>, 0+;
    }

    part UserName {
        name: String, 0+;
    }

    message DescribeUserScramCredentialsResponse 0-0 flexible 0+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        results: Vec<DescribeUserScramCredentialsResult>, 0+;
    }

    part DescribeUserScramCredentialsResult {
        user: String, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        credential_infos: Vec<CredentialInfo>, 0+;
    }

    part CredentialInfo {
        mechanism: i8, 0+;
        iterations: i32, 0+;
    }
}
