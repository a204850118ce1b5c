use tokio::time::advance;

use super::*;

fn connections(total: usize, per_address: usize) -> Connections {
    let proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    Connections::new(ConnectionLimits::new(Some(total), Some(per_address), 1_000_000), proxies)
}

fn admit(connections: &Connections, address: &str) -> Result<Slot, ConnectionRefusal> {
    connections.admit(SocketAddr::new(address.parse().expect("an address"), 1))
}

fn admitted(connections: &Connections, address: &str) -> Slot {
    admit(connections, address).expect("there is room")
}

fn is_closed(place: &Slot) -> bool {
    place.connection().is_closing.load(Ordering::Relaxed)
}

fn refused(connections: &Connections, address: &str) -> ConnectionRefusal {
    admit(connections, address).expect_err("there is no room")
}

#[test]
fn limits_follow_from_the_room() {
    let limits = |total, per_address, room| {
        let limits = ConnectionLimits::new(total, per_address, room);
        (limits.total, limits.per_address, limits.kept())
    };
    assert_eq!(limits(None, None, 1_000_000), (10_000, 1000, 200));
    assert_eq!(limits(None, None, 540), (540, 54, 10));
    assert_eq!(limits(Some(50_000), Some(10), 20_000), (20_000, 10, 200));
    assert_eq!(limits(Some(16), Some(1000), 20_000), (16, 16, 4));
    assert_eq!(limits(None, None, 1), (1, 1, 0));
    assert_eq!(ConnectionLimits::behind_one_proxy(136).per_address, 68);
}

#[tokio::test(start_paused = true)]
async fn address_at_its_bound_loses_its_own_oldest_idle_connection() {
    let connections = connections(1000, 2);
    let other = admitted(&connections, "192.0.2.9");
    let first = admitted(&connections, "192.0.2.1");
    advance(GRACE).await;
    let second = admitted(&connections, "192.0.2.1");
    let third = admitted(&connections, "192.0.2.1");
    assert!(is_closed(&first) && !is_closed(&second) && !is_closed(&other));
    // The place is free though the first is not closed yet, and is not given up twice.
    drop(first);
    assert_eq!(connections.count(), (0, 3));
    drop((second, third, other));
    assert_eq!(connections.count(), (0, 0));
    assert!(connections.lock().networks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn address_without_an_idle_connection_is_refused() {
    let connections = connections(1000, 2);
    let places = [(); 2].map(|()| admitted(&connections, "192.0.2.1"));
    assert_eq!(refused(&connections, "192.0.2.1"), ConnectionRefusal::Address, "none is idle for sure yet");
    advance(GRACE).await;
    let busy = places.each_ref().map(|place| place.connection().begin_request());
    assert_eq!(refused(&connections, "192.0.2.1"), ConnectionRefusal::Address);
    drop(busy);
    // Used ones are idle at once; but a moment ago none was.
    assert_eq!(refused(&connections, "192.0.2.1"), ConnectionRefusal::Address);
    advance(REST).await;
    admitted(&connections, "192.0.2.1");
    assert!(is_closed(&places[0]));
}

#[tokio::test(start_paused = true)]
async fn wider_networks_of_ipv6_have_bounds_too() {
    let connections = connections(1000, 2);
    let mut places = Vec::new();
    let mut busy = |address: &str| {
        let place = admit(&connections, address)?;
        places.push((place.connection().begin_request(), place));
        Ok::<_, ConnectionRefusal>(())
    };
    for (network, refusal) in [("2001:db8:1:0", 2), ("2001:db8:1:1", 2), ("2001:db8:1:2", 0), ("2001:db8:1:100", 2)] {
        let taken = (0..5).filter(|number| busy(&format!("{network}::{number}")).is_ok()).count();
        assert_eq!(taken, refusal, "{network}");
    }
    let taken = (0..20).filter(|number| busy(&format!("2001:db8:1:{number}00::1")).is_ok()).count();
    assert_eq!(taken, 2, "eight in all of the /48");
    assert_eq!(busy("2001:db8:2::1"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn proxies_and_exempt_connections_have_no_bound_of_their_own() {
    let connections = connections(1000, 2);
    let proxied: Vec<Slot> = (0..20).map(|_| admitted(&connections, "10.0.0.1")).collect();
    let servers: Vec<Slot> = (0..20)
        .map(|_| {
            let place = admitted(&connections, "192.0.2.1");
            connections.exempt(place.connection());
            place
        })
        .collect();
    assert!(proxied.iter().chain(&servers).all(|place| !is_closed(place)));
    drop((proxied, servers));
    assert!(connections.lock().networks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nearly_full_server_closes_the_oldest_idle_connections() {
    let connections = connections(20, 20);
    let proxy = admitted(&connections, "10.0.0.1");
    let places: Vec<Slot> = (0..15).map(|number| admitted(&connections, &format!("192.0.2.{number}"))).collect();
    advance(GRACE).await;
    let more: Vec<Slot> = (0..15).map(|number| admitted(&connections, &format!("198.51.100.{number}"))).collect();
    assert!(places.iter().all(is_closed) && !is_closed(&proxy), "those of proxies are the last");
    assert!(more.iter().all(|place| !place.connection().is_kept_for_health()));
    assert_eq!(connections.count(), (0, 16));
}

#[tokio::test(start_paused = true)]
async fn full_server_keeps_places_for_health_checks() {
    let connections = connections(20, 20);
    let address = |number: usize| format!("192.0.2.{number}");
    let places: Vec<Slot> = (0..16).map(|number| admitted(&connections, &address(number))).collect();
    let _busy: Vec<Busy> = places.iter().map(|place| place.connection().begin_request()).collect();
    let kept: Vec<Slot> = (16..20).map(|number| admitted(&connections, &address(number))).collect();
    assert!(kept.iter().all(|place| place.connection().is_kept_for_health()));
    assert_eq!(refused(&connections, "192.0.2.20"), ConnectionRefusal::Full);
    // Those that ask for nothing make room soon.
    advance(KEPT_GRACE.max(REST)).await;
    admitted(&connections, "192.0.2.20");
    assert!(is_closed(&kept[0]));
}
