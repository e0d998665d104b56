//! The client's configuration as it is behind the gate: the file that it has, with other addresses. All else stays as it was
//! written, so that nothing is lost when it takes the file's place.

use crate::servers::{ADDRESSES, Servers, listed};
use agentgate_core::json::{Json, Object};

pub(crate) fn behind(gate: &str, servers: &Servers) -> String {
    let mut file = servers.file.clone();
    let all = listed(&file).and_then(|key| file.get_mut(key));
    if let Some(Json::Object(all)) = all {
        for server in &servers.http {
            if let Some(Json::Object(entry)) = all.get_mut(&server.key) {
                redirect(entry, &format!("{gate}/{}", server.name));
            }
        }
    }
    let mut text = String::new();
    write(&mut text, &Json::Object(file), 0);
    text + "\n"
}

/// Whatever it calls its address.
fn redirect(entry: &mut Object, url: &str) {
    for member in ADDRESSES {
        if let Some(address @ Json::String(_)) = entry.get_mut(member) {
            *address = url.into();
        }
    }
}

/// Numbers in their own text, members in their order, two columns for each level.
fn write(text: &mut String, json: &Json, depth: usize) {
    let line = |text: &mut String, first: bool, depth: usize| {
        *text += if first { "\n" } else { ",\n" };
        *text += &"  ".repeat(depth);
    };
    match json {
        Json::Object(object) if !object.is_empty() => {
            text.push('{');
            for (number, (key, value)) in object.iter().enumerate() {
                line(text, number == 0, depth + 1);
                *text += &format!("{}: ", Json::from(key));
                write(text, value, depth + 1);
            }
            line(text, true, depth);
            text.push('}');
        }
        Json::Array(all) if !all.is_empty() => {
            text.push('[');
            for (number, value) in all.iter().enumerate() {
                line(text, number == 0, depth + 1);
                write(text, value, depth + 1);
            }
            line(text, true, depth);
            text.push(']');
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
            *text += &json.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Servers, behind};

    #[test]
    fn a_client_gets_its_file_back_with_other_addresses_alone() {
        let file = r#"{
  "inputs": [
    1e400,
    {}
  ],
  "mcpServers": {
    "notes": {
      "type": "http",
      "url": "http://127.0.0.1:8000/mcp",
      "headers": {
        "Authorization": "Bearer \"x\""
      }
    },
    "My Files": {
      "serverUrl": "https://files.example/mcp",
      "timeout": 5.0
    },
    "git": {
      "command": "uvx",
      "args": [
        "mcp-server-git"
      ],
      "env": {
        "TOKEN": "y"
      }
    },
    "old": {
      "type": "sse",
      "url": "http://127.0.0.1:9000/sse"
    },
    "off": {
      "disabled": true,
      "url": "http://127.0.0.1:9001/mcp"
    }
  }
}
"#;
        let gate = "http://127.0.0.1:10000";
        let wanted = file
            .replace("http://127.0.0.1:8000/mcp", "http://127.0.0.1:10000/notes")
            .replace("https://files.example/mcp", "http://127.0.0.1:10000/My-Files");
        assert_eq!(behind(gate, &Servers::parse(file.as_bytes()).unwrap()), wanted);
        let sibling = |text: &str| text.replace("mcpServers", "servers");
        assert_eq!(behind(gate, &Servers::parse(sibling(file).as_bytes()).unwrap()), sibling(&wanted));
        let one = behind(gate, &Servers::one("http://127.0.0.1:8000/mcp", Some("a")).unwrap());
        assert!(one.contains(r#""url": "http://127.0.0.1:10000/a""#) && one.contains(r#""type": "http""#), "{one}");
    }
}
