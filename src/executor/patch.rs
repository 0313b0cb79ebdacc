//! The part of a wanted state that differs from what is there: patches say nothing that holds already.

use serde_json::{Map, Value};

use super::api::Merge;

/// Lists that Kubernetes merges by a key, and the key.
const KEYED: [(&str, &str); 3] = [("containers", "name"), ("volumes", "name"), ("volumeMounts", "mountPath")];

/// What of `wanted` differs from `present`; `None` if nothing does.
pub fn differing(wanted: &Value, present: &Value, merge: Merge) -> Option<Value> {
    difference(wanted, Some(present), merge, None)
}

fn difference(wanted: &Value, present: Option<&Value>, merge: Merge, field: Option<&str>) -> Option<Value> {
    let key = KEYED.iter().find(|(list, _)| merge == Merge::Strategic && Some(*list) == field).map(|(_, key)| *key);
    match (wanted, present, key) {
        (Value::Object(wanted), _, _) => {
            let present = present.and_then(Value::as_object);
            let changes: Map<String, Value> = wanted
                .iter()
                .filter_map(|(name, wanted)| {
                    let change = difference(wanted, present.and_then(|all| all.get(name)), merge, Some(name))?;
                    Some((name.clone(), change))
                })
                .collect();
            // An empty object is a value of its own (emptyDir: {}), to be set where it is absent.
            (!changes.is_empty() || (wanted.is_empty() && present.is_none())).then_some(Value::Object(changes))
        }
        (Value::Array(wanted), _, Some(key)) => {
            let present = present.and_then(Value::as_array);
            let changes: Vec<Value> = wanted
                .iter()
                .filter_map(|element| {
                    let same = present.and_then(|all| all.iter().find(|other| other.get(key) == element.get(key)));
                    let mut change = difference(element, same, merge, None)?;
                    change.as_object_mut()?.insert(key.to_owned(), element.get(key)?.clone());
                    Some(change)
                })
                .collect();
            (!changes.is_empty()).then_some(Value::Array(changes))
        }
        (Value::Null, None, _) => None,
        (wanted, present, _) => (present != Some(wanted)).then(|| wanted.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_holds_already_is_not_said_again() {
        let present = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"x": [1, 2]}});
        let wanted = json!({"metadata": {"labels": {"a": "1", "b": "3"}}, "spec": {"x": [1, 2]}});
        assert_eq!(differing(&wanted, &present, Merge::Plain), Some(json!({"metadata": {"labels": {"b": "3"}}})));
        assert_eq!(differing(&present, &present, Merge::Plain), None);
    }

    #[test]
    fn containers_are_compared_by_their_names() {
        let present =
            json!({"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1", "tty": true}]});
        let wanted = json!({"containers": [{"name": "b", "image": "y:2", "tty": true}, {"name": "a", "image": "x:1"}]});
        assert_eq!(
            differing(&wanted, &present, Merge::Strategic),
            Some(json!({"containers": [{"name": "b", "image": "y:2"}]}))
        );
    }

    #[test]
    fn an_absent_empty_object_is_a_difference() {
        let wanted = json!({"volumes": [{"name": "sock", "emptyDir": {}}]});
        assert_eq!(differing(&wanted, &json!({}), Merge::Strategic), Some(wanted.clone()));
        assert_eq!(differing(&wanted, &wanted, Merge::Strategic), None);
    }
}
