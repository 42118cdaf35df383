//! Tokens that are shown to whoever is asked for an alarm's state: read when they are needed, and kept nowhere.

use std::{io::Read, path::Path};

use crate::alarm::Token;

/// More than any token has.
const TOKEN_LIMIT: u64 = 8 << 10;

/// Reads a token: one line of visible ASCII. The error never repeats what was read.
pub(super) async fn read(source: &Token) -> Result<String, String> {
    let text = match source {
        Token::Environment(name) => {
            std::env::var(name).map_err(|_| format!("the variable {name} for its token is not set"))?
        }
        Token::File(path) => {
            let path = path.clone();
            let found = tokio::task::spawn_blocking(move || read_file(&path)).await;
            found.unwrap_or_else(|error| Err(format!("its token cannot be read: {error}")))?
        }
    };
    line(&text).map(str::to_owned).ok_or_else(|| "its token is not one line of visible ASCII".to_owned())
}

fn read_file(path: &Path) -> Result<String, String> {
    let unreadable = |error| format!("the file {} for its token cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    // One byte more than may be there: a file that fills it is no token.
    file.take(TOKEN_LIMIT + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn line(text: &str) -> Option<&str> {
    let line = text.trim_end_matches(['\r', '\n']);
    let fits = !line.is_empty() && line.len() as u64 <= TOKEN_LIMIT;
    (fits && line.bytes().all(|byte| byte.is_ascii_graphic())).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_one_line_and_nothing_else_of_the_machine_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = Token::File(path.clone());
        let cases = [("abc.def\n", Some("abc.def")), ("", None), ("Qx\nQy\n", None), ("Qx Qy", None)];
        for (text, token) in cases {
            std::fs::write(&path, text).unwrap();
            let found = read(&source).await;
            assert_eq!(found.as_deref().ok(), token, "{text:?}");
            assert!(found.is_ok() || !found.unwrap_err().contains('Q'), "{text:?} is repeated");
        }
        std::fs::write(&path, "x".repeat(9 << 10)).unwrap();
        assert!(read(&source).await.is_err());
        let unset = Token::Environment("SNAPBACK_TOKEN_OF_NOBODY".to_owned());
        assert_eq!(
            read(&unset).await.unwrap_err(),
            "the variable SNAPBACK_TOKEN_OF_NOBODY for its token is not set"
        );
    }
}
