use super::*;

#[test]
fn tags_name_one_identity_each() {
    for tag in ["user-admin", "unit-my-sql-10", "machine-0-lxd-1", "controller-3"] {
        assert_eq!(Identity::from_tag(tag).map(|identity| identity.tag()).as_deref(), Some(tag));
    }
    let unit = Identity::from_tag("unit-my-sql-10").map(|unit| unit.to_string());
    assert_eq!(unit.as_deref(), Some("my-sql/10"));
    for tag in ["", "user", "user-", "unit-mysql", "unit-mysql-07", "unit--0", "cloud-x"] {
        assert_eq!(Identity::from_tag(tag), None, "{tag}");
    }
    assert_eq!(Identity::from_tag("unit-mysql/0-0"), None);
}

#[test]
fn stored_passwords_are_read_back_and_verified() {
    let rounds = NonZeroU32::MIN.saturating_add(9);
    for hashed in [Hashed::stretched("secret", rounds), Hashed::salted("secret")] {
        let read = Hashed::parse(&hashed.to_string());
        assert_eq!(read.as_ref(), Ok(&hashed));
        assert!(hashed.verify("secret"));
        assert!(!hashed.verify("Secret"));
        assert!(!hashed.verify(""));
    }
    // As `printf '\1\2\3\4\5\6\7\10secret' | sha256sum` has it.
    let known = "sha256$0102030405060708$\
                 fcf85edc0c0fdca589c280076265df7efa0e7cdccf7d689522b76cac1de13d62";
    assert!(Hashed::parse(known).is_ok_and(|hashed| hashed.verify("secret")));
}

#[test]
fn malformed_hashes_are_told_apart() {
    let parse = |text: &str| Hashed::parse(text).err();
    assert_eq!(parse("secret"), Some(Malformed::Form));
    assert_eq!(parse("sha256$01$00"), Some(Malformed::Salt));
    assert_eq!(parse("sha256$0102030405060708$00"), Some(Malformed::Hash));
    assert_eq!(parse("pbkdf2-sha256$0$0102030405060708$00"), Some(Malformed::Rounds));
    assert_eq!(parse("pbkdf2-sha256$99999999$0102030405060708$00"), Some(Malformed::Rounds));
}

#[test]
fn nobody_and_a_wrong_password_look_alike() {
    let mut credentials = Credentials::default();
    let admin = Identity::User("admin".into());
    let unit = Identity::Unit { application: "mysql".into(), number: 0 };
    credentials.insert(None, admin.clone(), Hashed::stretched("secret", NonZeroU32::MIN));
    credentials.insert(Some("one"), unit.clone(), Hashed::salted("u0"));
    let verify = |place: &Place, tag, password| credentials.verify(place, tag, password);
    let (one, other) = (Place::Model("one".into()), Place::Model("other".into()));
    assert_eq!(verify(&Place::Controller, "user-admin", "secret"), Some(admin.clone()));
    assert_eq!(verify(&other, "user-admin", "secret"), Some(admin));
    assert_eq!(verify(&one, "user-admin", "nope"), None);
    assert_eq!(verify(&one, "user-nobody", "secret"), None);
    assert_eq!(verify(&one, "secret", "secret"), None);
    assert_eq!(verify(&one, "unit-mysql-0", "u0"), Some(unit));
    assert_eq!(verify(&other, "unit-mysql-0", "u0"), None);
    assert_eq!(verify(&Place::Controller, "unit-mysql-0", "u0"), None);
}

#[test]
fn a_right_password_is_known_again_and_a_wrong_one_is_not() {
    let mut credentials = Credentials::default();
    let admin = Identity::User("admin".into());
    let stretched = |password| Hashed::stretched(password, NonZeroU32::MIN);
    credentials.insert(None, admin.clone(), stretched("secret"));
    credentials.insert(None, Identity::User("other".into()), stretched("else"));
    let known = (None, admin.clone());
    let verify = |credentials: &Credentials, password| {
        credentials.verify(&Place::Controller, "user-admin", password).is_some()
    };
    assert!(!verify(&credentials, "nope"));
    assert!(credentials.accounts[&known].right.get().is_none());
    for _ in 0..2 {
        assert!(verify(&credentials, "secret"));
        assert!(credentials.accounts[&known].right.get().is_some());
        assert!(!verify(&credentials, "nope"));
    }
    // What is right for one is not for another.
    let other = credentials.verify(&Place::Controller, "user-other", "secret");
    assert_eq!(other, None);
    credentials.insert(None, admin, stretched("changed"));
    assert!(!verify(&credentials, "secret"));
    assert!(verify(&credentials, "changed"));
}
