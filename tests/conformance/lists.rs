//! Lists: selectors, pages, metadata alone, tables.

use serde_json::{Value, json};

use crate::objects::{TASKS, map, task};
use crate::worlds::{Answer, Asked, compare};

const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const ONE_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

fn names(answer: &Answer) -> Value {
    answer.body["items"].as_array().into_iter().flatten().map(|item| item["metadata"]["name"].clone()).collect()
}

#[test]
fn selectors_select_the_same() {
    compare(|mut talk| async move {
        for (number, size) in [(1, "s"), (2, "m"), (3, "l")] {
            let mut one = task(&format!("listed-{number}"));
            one["metadata"]["labels"] = json!({"list": "yes", "size": size});
            if number == 3 {
                one["metadata"]["labels"]["extra"] = json!("");
            }
            talk.post("one", TASKS, &one).await;
        }
        let selectors = [
            "list=yes",
            "list==yes,size=s",
            "list=yes,size!=s",
            "list=yes,size+in+(s,m)",
            "list=yes,size+notin+(s,m)",
            "list=yes,extra",
            "list=yes,!extra",
            "list=no",
        ];
        for selector in selectors {
            let path = format!("{TASKS}?labelSelector={}", selector.replace('!', "%21"));
            let answer = talk.quietly(Asked { path: &path, ..Asked::default() }).await;
            let list = json!({"code": answer.code, "kind": answer.body["kind"], "names": names(&answer),
                "apiVersion": answer.body["apiVersion"], "metadata": answer.body["metadata"]});
            talk.note(selector, &list);
        }
        let wrong = talk.quietly(Asked { path: &format!("{TASKS}?labelSelector=a+in+b"), ..Asked::default() }).await;
        talk.note("no selector", &json!([wrong.code, wrong.body["kind"], wrong.body["reason"]]));
        let one = format!("{TASKS}?fieldSelector=metadata.name%3Dlisted-2");
        let answer = talk.quietly(Asked { path: &one, ..Asked::default() }).await;
        talk.note("by name", &names(&answer));
        let unknown = format!("{TASKS}?fieldSelector=spec.nothing%3D2");
        let wrong = talk.quietly(Asked { path: &unknown, ..Asked::default() }).await;
        talk.note("by a field that nobody selects by", &json!([wrong.code, wrong.body["reason"]]));
        talk
    });
}

#[test]
fn pages_follow_each_other_and_metadata_comes_alone() {
    compare(|mut talk| async move {
        for number in 0..5 {
            let mut one = map(&format!("page-{number}"));
            one["metadata"]["labels"] = json!({"page": "yes"});
            talk.post("one", MAPS, &one).await;
        }
        let path = format!("{MAPS}?labelSelector=page%3Dyes");
        let first = talk.get("the first page", &format!("{path}&limit=2")).await;
        let token = first.body["metadata"]["continue"].as_str().unwrap().to_owned();
        // What is made meanwhile belongs to a later list.
        let mut late = map("page-3-late");
        late["metadata"]["labels"] = json!({"page": "yes"});
        talk.post("one more", MAPS, &late).await;
        let next = talk.get("the second page", &format!("{path}&limit=2&continue={token}")).await;
        let token = next.body["metadata"]["continue"].as_str().unwrap().to_owned();
        let last = talk.get("the last page", &format!("{path}&limit=2&continue={token}")).await;
        talk.note("names", &json!([names(&first), names(&next), names(&last)]));
        let wrong =
            talk.quietly(Asked { path: &format!("{path}&limit=2&continue=nonsense"), ..Asked::default() }).await;
        talk.note("no token", &json!([wrong.code, wrong.body["reason"]]));
        for (title, path, accept) in [
            ("metadata alone", &path, METADATA),
            ("of one", &format!("{MAPS}/page-0"), ONE_METADATA),
            ("of one that is not there", &format!("{MAPS}/page-x"), ONE_METADATA),
        ] {
            talk.ask(title, Asked { path, accept, ..Asked::default() }).await;
        }
        let table = talk.quietly(Asked { path: &path, accept: TABLE, ..Asked::default() }).await;
        let rows = table.body["rows"].as_array().unwrap();
        let cells: Vec<Value> = rows.iter().map(|row| json!([row["cells"][0], row["object"]["kind"]])).collect();
        talk.note("a table", &json!([table.code, table.body["kind"], table.body["apiVersion"], cells]));
        talk
    });
}
