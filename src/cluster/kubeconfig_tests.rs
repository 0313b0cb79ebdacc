//! Hostile and honest kubeconfigs: S1, S2, S4, S5 of the security table, and what a user's own files look like.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::access::{Credential, Trust};
use super::kubeconfig::{KUBECONFIG_BYTES_MAX, Proof, Refused, read, read_with};

/// Stands in every secret place of every file below; no message may repeat it.
const CANARY: &str = "canary7f3a9c";

struct Pki {
    ca: String,
    certificate: String,
    key: String,
    other_key: String,
}

fn pki() -> Pki {
    let certified = rcgen::generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    Pki {
        ca: STANDARD.encode(certified.cert.pem()),
        certificate: STANDARD.encode(certified.cert.pem()),
        key: STANDARD.encode(certified.signing_key.serialize_pem()),
        other_key: STANDARD.encode(other.serialize_pem()),
    }
}

/// A file as kubectl writes it; `cluster` and `user` are further lines of these two mappings.
fn file(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: edge\n\
         contexts:\n- name: edge\n  context:\n    cluster: c\n    user: u\n    namespace: openebs\n\
         clusters:\n- name: c\n  cluster:\n    server: https://10.0.0.1:6443\n{cluster}\
         users:\n- name: u\n  user:\n{user}"
    )
}

fn honest(pki: &Pki) -> String {
    file(&format!("    certificate-authority-data: {}\n", pki.ca), &format!("    token: {CANARY}\n"))
}

fn refused(yaml: &str) -> Refused {
    let refused = read(yaml.as_bytes(), None).err().unwrap_or_else(|| panic!("was taken:\n{yaml}"));
    for text in [refused.to_string(), format!("{refused:?}")] {
        assert!(!text.contains(CANARY), "repeats a value: {text}");
    }
    refused
}

fn fields(yaml: &str) -> Vec<String> {
    refused(yaml).problems.into_iter().map(|problem| problem.field).collect()
}

#[test]
fn a_token_with_its_ca_is_taken() {
    let pki = pki();
    let access = read(honest(&pki).as_bytes(), None).unwrap();
    assert_eq!(access.server.as_str(), "https://10.0.0.1:6443");
    assert_eq!(access.namespace.as_deref(), Some("openebs"));
    assert_eq!(access.context, "edge");
    assert!(matches!(access.credential, Credential::Token(_)));
    assert!(!format!("{access:?}").contains(CANARY));
}

#[test]
fn a_client_certificate_is_taken_and_only_certificates_of_the_ca_bundle_are_kept() {
    let pki = pki();
    let mixed = [&pki.ca, &pki.key].map(|part| STANDARD.decode(part).unwrap()).concat();
    let cluster =
        format!("    certificate-authority-data: {}\n    tls-server-name: edge.example\n", STANDARD.encode(mixed));
    let user = format!("    client-certificate-data: {}\n    client-key-data: {}\n", pki.certificate, pki.key);
    let access = read(file(&cluster, &user).as_bytes(), None).unwrap();
    assert!(matches!(access.credential, Credential::ClientCertificate { .. }));
    assert_eq!(access.tls_server_name.as_deref(), Some("edge.example"));
    assert!(!access.trust.as_stored().contains("PRIVATE KEY"));
}

#[test]
fn json_and_nulls_as_some_tools_write_them_are_taken() {
    let pki = pki();
    let json = format!(
        r#"{{"apiVersion":"v1","kind":"Config","preferences":null,"extensions":null,"current-context":"x",
        "contexts":[{{"name":"x","context":{{"cluster":"x","user":"x","extensions":null}}}}],
        "clusters":[{{"name":"x","cluster":{{"server":"https://h/k8s/clusters/c-1","insecure-skip-tls-verify":false,
        "certificate-authority-data":"{}"}}}}],"users":[{{"name":"x","user":{{"token":"t","exec":null}}}}]}}"#,
        pki.ca
    );
    assert_eq!(read(json.as_bytes(), None).unwrap().server.path(), "/k8s/clusters/c-1");
}

#[test]
fn s1_nothing_that_runs_programs_signs_in_impersonates_or_chooses_a_proxy_gets_in() {
    let pki = pki();
    let ca = format!("    certificate-authority-data: {}\n", pki.ca);
    let user_fields = [
        ("exec", format!("    exec:\n      apiVersion: v1\n      command: /bin/{CANARY}\n      args: [{CANARY}]\n")),
        ("exec", format!("    exec: {CANARY}\n    token: t\n")),
        ("auth-provider", format!("    auth-provider: {{name: gcp, config: {{access-token: {CANARY}}}}}\n")),
        ("auth-provider", format!("    auth-provider: {{name: {CANARY}}}\n    token: t\n")),
        ("as", format!("    as: {CANARY}\n    token: t\n")),
        ("as-uid", format!("    as-uid: {CANARY}\n    token: t\n")),
        ("as-groups", format!("    as-groups: [{CANARY}]\n    token: t\n")),
        ("as-user-extra", format!("    as-user-extra: {{{CANARY}: [x]}}\n    token: t\n")),
        ("username", format!("    username: {CANARY}\n    token: t\n")),
        ("password", format!("    password: {CANARY}\n    token: t\n")),
    ];
    for (field, user) in user_fields {
        assert_eq!(fields(&file(&ca, &user)), [format!("users[0].user.{field}")], "{user}");
    }
    let proxy = file(&format!("{ca}    proxy-url: http://{CANARY}@proxy\n"), "    token: t\n");
    assert_eq!(fields(&proxy), ["clusters[0].cluster.proxy-url"]);
    assert!(refused(&proxy).to_string().contains("--egress"));
}

#[test]
fn s2_nothing_is_read_from_a_path_and_nothing_unknown_is_passed_over() {
    let pki = pki();
    let ca = format!("    certificate-authority-data: {}\n", pki.ca);
    let token = "    token: t\n";
    for field in ["certificate-authority", "extensions", "made-up"] {
        let cluster = format!("{ca}    {field}: /{CANARY}\n");
        assert_eq!(fields(&file(&cluster, token)), [format!("clusters[0].cluster.{field}")]);
    }
    // The path alone: one message about it, none about the missing data.
    let path_only = file(&format!("    certificate-authority: /{CANARY}\n"), token);
    assert_eq!(fields(&path_only), ["clusters[0].cluster.certificate-authority"]);
    for field in ["tokenFile", "client-certificate", "client-key", "extensions", "tokenfile"] {
        assert_eq!(fields(&file(&ca, &format!("    {field}: /{CANARY}\n"))), [format!("users[0].user.{field}")]);
    }
    assert_eq!(fields(&format!("{}extensions: [{{name: {CANARY}}}]\n", honest(&pki))), ["extensions"]);
    let in_context = honest(&pki).replace("    namespace: openebs\n", &format!("    extensions: [{CANARY}]\n"));
    assert_eq!(fields(&in_context), ["contexts[0].context.extensions"]);
    let beside = honest(&pki).replace("- name: u\n", &format!("- name: u\n  exec: {CANARY}\n"));
    assert_eq!(fields(&beside), ["users[0].user.exec"]);
}

#[test]
fn a_secret_at_the_place_of_a_field_name_is_not_repeated() {
    let pki = pki();
    let long = CANARY.repeat(8);
    let yaml = file(
        &format!("    certificate-authority-data: {}\n", pki.ca),
        &format!("    {long}: x\n    ? \"{CANARY} \\n\"\n    : x\n    token: t\n"),
    );
    assert_eq!(fields(&yaml), ["users[0].user.(unprintable)", "users[0].user.(unprintable)"]);
}

#[test]
fn s3_only_plain_https_urls_are_taken() {
    let pki = pki();
    for url in [
        "http://10.0.0.1",
        "https://canary7f3a9c:x@10.0.0.1",
        "10.0.0.1:6443",
        "unix:///x",
        "https://h/?x=y",
        "https://2130706433",
        "''",
    ] {
        let yaml = honest(&pki).replace("https://10.0.0.1:6443", url);
        assert_eq!(fields(&yaml), ["clusters[0].cluster.server"], "{url}");
    }
    let none = honest(&pki).replace("    server: https://10.0.0.1:6443\n", "");
    assert_eq!(fields(&none), ["clusters[0].cluster.server"]);
}

#[test]
fn s4_an_unproven_server_is_refused() {
    let pki = pki();
    assert_eq!(fields(&file("", "    token: t\n")), ["clusters[0].cluster.certificate-authority-data"]);
    for value in ["true", "yes", "'true'", "1"] {
        let yaml = file(
            &format!("    certificate-authority-data: {}\n    insecure-skip-tls-verify: {value}\n", pki.ca),
            "    token: t\n",
        );
        assert_eq!(fields(&yaml), ["clusters[0].cluster.insecure-skip-tls-verify"], "{value}");
    }
    let rubbish = STANDARD.encode(format!("-----BEGIN CERTIFICATE-----\n{CANARY}\n-----END CERTIFICATE-----\n"));
    let empty = STANDARD.encode("");
    for ca in ["!!", CANARY, &rubbish, &empty, &pki.key] {
        let yaml = file(&format!("    certificate-authority-data: \"{ca}\"\n"), "    token: t\n");
        assert_eq!(fields(&yaml), ["clusters[0].cluster.certificate-authority-data"], "{ca}");
    }
}

#[test]
fn s4_an_administrator_may_waive_the_proof_where_there_is_no_ca() {
    let pki = pki();
    for cluster in ["", "    insecure-skip-tls-verify: true\n", "    insecure-skip-tls-verify: false\n"] {
        let yaml = file(cluster, "    token: t\n");
        assert_eq!(read_with(yaml.as_bytes(), None, Proof::Waived).unwrap().trust, Trust::Waived, "{cluster}");
    }
    let refused = read_with(honest(&pki).as_bytes(), None, Proof::Waived).unwrap_err();
    assert!(refused.to_string().contains("there is nothing to waive"), "{refused}");
}

#[test]
fn s5_size_bombs_and_duplicates_end_early_with_a_clear_message() {
    let pki = pki();
    let started = std::time::Instant::now();

    let large = format!("{}# {}", honest(&pki), "x".repeat(KUBECONFIG_BYTES_MAX));
    assert!(refused(&large).to_string().contains("larger than"));
    let contexts = "- {name: a, context: {cluster: c, user: u}}\n".repeat(100_000);
    assert!(
        refused(&honest(&pki).replace("contexts:\n", &format!("contexts:\n{contexts}"))).to_string().contains("larger")
    );
    let contexts = "- {}\n".repeat(100_000);
    let many = honest(&pki).replace("contexts:\n", &format!("contexts:\n{contexts}"));
    assert!(refused(&many).to_string().contains("too many entries"), "{}", refused(&many));

    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let below = format!("*a{},", level - 1).repeat(9);
        bomb = format!("{bomb}a{level}: &a{level} [{below}]\n");
    }
    assert!(refused(&bomb).to_string().contains("too many entries"), "{}", refused(&bomb));
    refused(&format!("{}x: {}", honest(&pki), "[".repeat(10_000)));
    refused(&format!("{}x: {}", honest(&pki), "{a: ".repeat(10_000)));

    let twice = honest(&pki).replace("    user: u\n", "    user: u\n    user: u\n");
    assert!(refused(&twice).to_string().contains("given twice"), "{}", refused(&twice));
    assert!(
        refused(&format!("{}---\n{}", honest(&pki), honest(&pki))).to_string().contains("more than one YAML document")
    );
    assert!(read(&[0xff, 0xfe, 0x00], None).unwrap_err().to_string().contains("UTF-8"));

    // Generous for a busy machine in the dev profile; a bomb would take minutes.
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn what_is_not_a_kubeconfig_at_all_is_refused_without_a_panic() {
    for yaml in
        ["", "null", "[]", "42", "just text", "a: b: c", "users: 5", "users: [5]", "contexts: {}", "\u{0}", "{", "? "]
    {
        refused(yaml);
    }
    let wrong_shape = honest(&pki()).replace(&format!("token: {CANARY}"), &format!("token: [{CANARY}]"));
    assert!(refused(&wrong_shape).problems[0].line > 1);
    let kind = honest(&pki()).replace("kind: Config", "kind: Pod");
    assert_eq!(fields(&kind), ["kind"]);
}

#[test]
fn all_problems_are_named_at_once() {
    let yaml = file(
        &format!("    proxy-url: {CANARY}\n    insecure-skip-tls-verify: true\n"),
        &format!("    exec: {CANARY}\n    tokenFile: {CANARY}\n    as: {CANARY}\n"),
    )
    .replace("https://10.0.0.1:6443", "http://10.0.0.1");
    let refused = refused(&yaml);
    let fields: Vec<_> = refused.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "clusters[0].cluster.proxy-url",
            "clusters[0].cluster.insecure-skip-tls-verify",
            "clusters[0].cluster.server",
            "clusters[0].cluster.certificate-authority-data",
            "users[0].user.exec",
            "users[0].user.tokenFile",
            "users[0].user.as",
        ]
    );
    assert!(refused.problems.iter().all(|problem| problem.line > 0 && !problem.remedy.is_empty()), "{refused}");
    assert_eq!(refused.problems[0].line, 15, "{refused}");
}

#[test]
fn half_or_wrong_credentials_are_refused_for_what_they_are() {
    let pki = pki();
    let ca = format!("    certificate-authority-data: {}\n", pki.ca);
    let table = [
        (String::from("    {}\n"), "users[0].user.token"),
        (format!("    token: \"{CANARY} x\"\n"), "users[0].user.token"),
        (format!("    token: \"{CANARY}\\r\\nX: y\"\n"), "users[0].user.token"),
        (String::from("    token: ''\n"), "users[0].user.token"),
        (format!("    token: {CANARY}\n    client-key-data: {}\n", pki.key), "users[0].user.token"),
        (format!("    client-key-data: {}\n", pki.key), "users[0].user.client-certificate-data"),
        (format!("    client-certificate-data: {}\n", pki.certificate), "users[0].user.client-certificate-data"),
        (
            format!("    client-certificate-data: {}\n    client-key-data: {}\n", pki.certificate, pki.other_key),
            "users[0].user.client-key-data",
        ),
        (
            format!("    client-certificate-data: {}\n    client-key-data: {}\n", pki.key, pki.key),
            "users[0].user.client-certificate-data",
        ),
        (
            format!("    client-certificate-data: {}\n    client-key-data: {CANARY}==\n", pki.certificate),
            "users[0].user.client-key-data",
        ),
    ];
    for (user, field) in table {
        assert_eq!(fields(&file(&ca, &user)), [field], "{user}");
    }
}

#[test]
fn the_context_is_chosen_by_name_and_the_others_do_not_matter() {
    let pki = pki();
    let two = honest(&pki)
        .replace("contexts:\n", "contexts:\n- {name: other, context: {cluster: c, user: runs-programs}}\n")
        .replace("users:\n", "users:\n- {name: runs-programs, user: {exec: {command: x}}}\n");
    assert_eq!(read(two.as_bytes(), None).unwrap().context, "edge");
    assert_eq!(read(two.as_bytes(), Some("edge")).unwrap().context, "edge");
    let other = read(two.as_bytes(), Some("other")).unwrap_err();
    assert_eq!(other.problems[0].field, "users[0].user.exec");
    assert_eq!(read(two.as_bytes(), Some("none")).unwrap_err().problems[0].field, "contexts");

    let unset = two.replace("current-context: edge\n", "");
    assert_eq!(read(unset.as_bytes(), None).unwrap_err().problems[0].field, "current-context");
    let dangling = honest(&pki).replace("    user: u\n", "    user: nobody\n");
    assert_eq!(fields(&dangling), ["users"]);
    let twice = honest(&pki).replace("users:\n", "users:\n- {name: u, user: {token: t}}\n");
    assert_eq!(fields(&twice), ["users"]);
}
