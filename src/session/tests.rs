use super::*;
use crate::domain::{Cutoff, EndedSession, SessionsEnded, UserRole};

fn user() -> User {
    User {
        tenant_id: TenantId::new(),
        id: UserId::new(),
        email: "ada@example.org".parse().expect("an address"),
        role: UserRole::Admin,
        created_at: Utc::now(),
        disabled_at: None,
        session_epoch: 0,
        tenant_epoch: 0,
    }
}

fn sessions(key: u8) -> Sessions {
    let settings = config::Session { ttl: Duration::from_secs(60), absolute_ttl: Duration::from_secs(150), ..Default::default() };
    Sessions::new(Arc::new(MemorySessionStore::default()), KeyRing::new(&[key; 32]), &settings)
}

#[tokio::test(start_paused = true)]
async fn use_extends_a_session_up_to_its_absolute_end() {
    let (sessions, user, start) = (sessions(1), user(), Utc::now().trunc_subsecs(3));
    let OpenedSession { token, session, .. } = sessions.open(&user, start).await.expect("opens");
    assert_eq!(session.expires_at - start, TimeDelta::seconds(60));
    let claims = sessions.identify(token.expose(), start).expect("ours");
    let mut now = start;
    for (step, left) in [(50, 60), (50, 50), (45, 5)] {
        tokio::time::advance(Duration::from_secs(step)).await;
        now += TimeDelta::seconds(i64::try_from(step).expect("small"));
        let (principal, session) = sessions.verify(&claims, now).await.expect("lives");
        assert_eq!((principal.user, principal.role, principal.tenant()), (user.id, UserRole::Admin, user.tenant_id));
        assert_eq!(session.expires_at - now, TimeDelta::seconds(left));
    }
    assert_eq!(sessions.identify(token.expose(), start + TimeDelta::seconds(150)), None);
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(matches!(sessions.verify(&claims, now).await, Err(SessionError::Invalid)));
}

#[tokio::test(start_paused = true)]
async fn an_unused_session_ends() {
    let sessions = sessions(1);
    let OpenedSession { token, .. } = sessions.open(&user(), Utc::now()).await.expect("opens");
    let claims = sessions.identify(token.expose(), Utc::now()).expect("ours");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(matches!(sessions.verify(&claims, Utc::now()).await, Err(SessionError::Invalid)));
}

#[tokio::test]
async fn a_foreign_or_mangled_token_is_nobodys() {
    let ours = sessions(1);
    let OpenedSession { token, .. } = ours.open(&user(), Utc::now()).await.expect("opens");
    assert!(ours.identify(token.expose(), Utc::now()).is_some());
    assert_eq!(sessions(2).identify(token.expose(), Utc::now()), None);
    let text = token.expose();
    for position in 0..text.len() {
        let mut mangled = text.as_bytes().to_vec();
        mangled[position] = if mangled[position] == b'A' { b'B' } else { b'A' };
        let mangled = String::from_utf8(mangled).expect("ASCII");
        assert_eq!(ours.identify(&mangled, Utc::now()), None, "position {position}");
        assert_eq!(ours.identify(&text[..position], Utc::now()), None, "length {position}");
    }
    for text in ["", "v1", "v1..", "v1.00000000.", "v2.00000000.AAAA", "Bearer x"] {
        assert_eq!(ours.identify(text, Utc::now()), None, "{text}");
    }
}

#[tokio::test]
async fn a_user_sees_and_ends_only_its_own_sessions() {
    let (sessions, ada, bob, now) = (sessions(1), user(), user(), Utc::now());
    let mut opened = Vec::new();
    for user in [&ada, &ada, &ada, &bob] {
        let OpenedSession { token, .. } = sessions.open(user, now).await.expect("opens");
        let claims = sessions.identify(token.expose(), now).expect("ours");
        opened.push(sessions.verify(&claims, now).await.expect("lives"));
    }
    let [(one, own), (_, two), _, (other, foreign)] = opened.try_into().expect("four");
    assert_eq!(sessions.list(&one, now).await.expect("listed").len(), 3);
    assert!(!sessions.end(&one, foreign.id).await.expect("answers"));
    assert!(sessions.end(&one, two.id).await.expect("answers"));
    assert!(!sessions.end(&one, two.id).await.expect("answers"));
    sessions.end_others(&one, Cutoff { epoch: 1, spared: Some(own.id) }).await;
    assert_eq!(sessions.list(&one, now).await.expect("listed").len(), 1);
    assert_eq!(sessions.list(&other, now).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn what_was_ended_at_once_lets_nobody_in_though_the_store_has_it() {
    let (sessions, now) = (sessions(1), Utc::now());
    for whose in [|user: &User| Whose::User(user.tenant_id, user.id), |user: &User| Whose::Tenant(user.tenant_id)] {
        let user = user();
        let OpenedSession { token, .. } = sessions.open(&user, now).await.expect("opens");
        let claims = sessions.identify(token.expose(), now).expect("ours");
        let (principal, _) = sessions.verify(&claims, now).await.expect("lives");
        let cutoff = Cutoff { epoch: 1, spared: None };
        let mut endings = sessions.endings();
        sessions.refuse(&SessionsEnded { whose: whose(&user), cutoff, age: Duration::ZERO });
        assert_eq!(endings.try_recv(), Ok(whose(&user)));
        assert_eq!(sessions.list(&principal, now).await.expect("listed"), []);
        assert!(!sessions.is_known_dead(&claims));
        assert!(matches!(sessions.verify(&claims, now).await, Err(SessionError::Invalid)));
        assert!(sessions.is_known_dead(&claims));
        assert_eq!(sessions.store.touch(claims.session, Duration::from_secs(1)).await.expect("asked"), None, "it is cleared");
        let again = User { session_epoch: 1, tenant_epoch: 1, ..user };
        let OpenedSession { token, .. } = sessions.open(&again, now).await.expect("opens");
        let claims = sessions.identify(token.expose(), now).expect("ours");
        assert!(sessions.verify(&claims, now).await.is_ok(), "who logs in afterwards is in");
    }
}

/// Sessions that end when they were not used for a minute, and after some hours in any case.
fn long_sessions() -> Sessions {
    let settings =
        config::Session { ttl: Duration::from_secs(60), absolute_ttl: Duration::from_secs(9000), ..Default::default() };
    Sessions::new(Arc::new(MemorySessionStore::default()), KeyRing::new(&[1; 32]), &settings)
}

/// Puts a record into the store that it had before, as somebody who can write to the store may do.
async fn write_back(sessions: &Sessions, claims: &Claims, record: &str, now: DateTime<Utc>) {
    let (owner, id, record) = (Owner::of(claims), claims.session, record.to_owned());
    let new = NewSession { owner, id, record, idle: Duration::from_secs(3600), now, ends_at: now + TimeDelta::hours(1) };
    sessions.store.create(new, 20).await.expect("written");
}

#[tokio::test(start_paused = true)]
async fn record_written_back_after_an_unused_session_ended_is_refused() {
    let (sessions, user, start) = (long_sessions(), user(), Utc::now().trunc_subsecs(3));
    let OpenedSession { token, .. } = sessions.open(&user, start).await.expect("opens");
    let claims = sessions.identify(token.expose(), start).expect("ours");
    let first = sessions.store.list(Owner::of(&claims)).await.expect("listed")[0].record.clone();
    tokio::time::advance(Duration::from_secs(60)).await;
    // A quarter longer than an unused session lives, and what clocks may differ.
    for (after, is_valid) in [(60 + 15 + 59, true), (60 + 15 + 60, false)] {
        let now = start + TimeDelta::seconds(after);
        write_back(&sessions, &claims, &first, now).await;
        let verified = sessions.look_up(&claims, now).await;
        assert_eq!(verified.is_ok(), is_valid, "{after} s after it was sealed");
        sessions.store.end(Owner::of(&claims), &[claims.session]).await.expect("ended");
    }
}

#[tokio::test(start_paused = true)]
async fn session_in_use_lives_on_and_is_sealed_again_now_and_then() {
    let (sessions, user, start) = (long_sessions(), user(), Utc::now().trunc_subsecs(3));
    let OpenedSession { token, .. } = sessions.open(&user, start).await.expect("opens");
    let claims = sessions.identify(token.expose(), start).expect("ours");
    let mut records = std::collections::HashSet::new();
    for uses in 1..600 {
        tokio::time::advance(Duration::from_secs(10)).await;
        let now = start + TimeDelta::seconds(10 * uses);
        sessions.verify(&claims, now).await.unwrap_or_else(|error| panic!("{uses}: {error}"));
        records.insert(sessions.store.list(Owner::of(&claims)).await.expect("listed")[0].record.clone());
    }
    // In 6000 seconds, each time that a quarter of a minute has passed; it is used each 10 seconds.
    assert!((290..=310).contains(&records.len()), "{}", records.len());
}

#[tokio::test]
async fn session_ended_by_itself_is_refused_whatever_the_store_has() {
    let (sessions, elsewhere, user, now) = (long_sessions(), long_sessions(), user(), Utc::now());
    for way in ["ended here", "heard of"] {
        let OpenedSession { token, .. } = sessions.open(&user, now).await.expect("opens");
        let claims = sessions.identify(token.expose(), now).expect("ours");
        let record = sessions.store.list(Owner::of(&claims)).await.expect("listed")[0].record.clone();
        let (principal, _) = sessions.verify(&claims, now).await.expect("lives");
        assert!(sessions.end(&principal, claims.session).await.expect("ended"));
        let server = if way == "ended here" { &sessions } else { &elsewhere };
        write_back(server, &claims, &record, now).await;
        if way == "heard of" {
            assert!(server.verify(&claims, now).await.is_ok(), "nobody told it");
            let (tenant, user, session) = (claims.tenant, claims.user, claims.session);
            let mut endings = server.endings();
            server.refuse_session(&EndedSession { tenant, user, session, age: Duration::ZERO });
            assert_eq!(endings.try_recv(), Ok(Whose::User(tenant, user)), "its streams end");
        }
        assert!(server.is_known_dead(&claims), "{way}");
        assert!(matches!(server.verify(&claims, now).await, Err(SessionError::Invalid)), "{way}");
        assert_eq!(server.list(&principal, now).await.expect("listed"), [], "{way}");
        server.store.end(Owner::of(&claims), &[claims.session]).await.expect("cleared");
    }
}

#[tokio::test]
async fn too_many_sessions_end_the_oldest_for_good() {
    let settings = config::Session { max_per_user: 1, ..Default::default() };
    let sessions = Sessions::new(Arc::new(MemorySessionStore::default()), KeyRing::new(&[1; 32]), &settings);
    let (user, now) = (user(), Utc::now());
    let first = sessions.open(&user, now).await.expect("opens");
    let claims = sessions.identify(first.token.expose(), now).expect("ours");
    assert_eq!(first.ended, []);
    assert_eq!(sessions.open(&user, now).await.expect("opens").ended, [claims.session]);
    assert!(sessions.is_known_dead(&claims));
}

#[tokio::test]
async fn a_session_ends_when_it_was_to_end_whatever_the_settings_say_now() {
    let (shorter, user, start) = (sessions(1), user(), Utc::now().trunc_subsecs(3));
    let settings =
        config::Session { ttl: Duration::from_secs(60), absolute_ttl: Duration::from_secs(9000), ..Default::default() };
    let longer = Sessions::new(shorter.store.clone(), KeyRing::new(&[1; 32]), &settings);
    let OpenedSession { token, .. } = shorter.open(&user, start).await.expect("opens");
    let claims = longer.identify(token.expose(), start).expect("ours");
    longer.verify(&claims, start + TimeDelta::seconds(100)).await.expect("lives");
    let later = start + TimeDelta::seconds(149);
    let (_, session) = longer.verify(&claims, later).await.expect("lives");
    assert_eq!(session.expires_at - start, TimeDelta::seconds(150));
    assert!(matches!(longer.verify(&claims, start + TimeDelta::seconds(150)).await, Err(SessionError::Invalid)));
}

#[tokio::test]
async fn what_cannot_be_opened_is_ended_with_what_is_older() {
    let (ours, user, now) = (sessions(1), user(), Utc::now());
    let foreign = Sessions { keys: KeyRing::new(&[2; 32]), ..ours.clone() };
    let owner = Owner { tenant: user.tenant_id, user: user.id };
    let newer = User { session_epoch: 1, ..user };
    for (sessions, user) in [(&ours, &newer), (&foreign, &newer)] {
        sessions.open(user, now).await.expect("opens");
    }
    assert_eq!(ours.end_older(owner, Some(Cutoff { epoch: 1, spared: None })).await.expect("answers"), 1);
    assert_eq!(foreign.end_older(owner, Some(Cutoff { epoch: 1, spared: None })).await.expect("answers"), 1);
    assert_eq!(ours.store.list(owner).await.expect("listed"), []);
}

#[test]
fn a_record_opens_only_where_it_belongs() {
    let keys = KeyRing::new(&[1; 32]);
    let owner = Owner { tenant: TenantId::new(), user: UserId::new() };
    let id = SessionId::random();
    let record = Record {
        role: UserRole::Member,
        created_at: Utc::now(),
        ends_at: None,
        fresh_until: None,
        epoch: 3,
        tenant_epoch: 0,
        stale: false,
    };
    let sealed = record.seal(&keys, owner, id);
    assert_eq!(Record::open(&keys, owner, id, &sealed), Some(record));
    assert_eq!(Record::open(&keys, owner, SessionId::random(), &sealed), None);
    assert_eq!(Record::open(&keys, Owner { user: UserId::new(), ..owner }, id, &sealed), None);
}
