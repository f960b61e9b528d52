"""Roles, keys, members, claims and subscriptions: decisions without a database."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Conflict, Forbidden, Invalid
from contracts.tenants import TenantClosed, TenantCreated, TenantReactivated, TenantSuspended, TenantUpdated
from tenants.domain.api_keys import is_allowed_from, normal_networks, permissions_of_scopes
from tenants.domain.claims import NEXT as NEXT_CLAIM
from tenants.domain.claims import ClaimStatus, PaymentClaim, ended, may_be_claimed_again
from tenants.domain.companies import (
    PAYMENT_REFUSED,
    TenantChange,
    TenantStatus,
    changed_tenant,
    is_waiting,
    name_from,
    new_tenant,
    refuse_move,
    slug_from,
    tenant_event,
)
from tenants.domain.members import MemberChange, changed_member, refuse_last_owner
from tenants.domain.people import (
    MemberStatus,
    UserStatus,
    has_strangers_password,
    is_barred,
    new_membership,
    new_user,
    new_valid_from,
)
from tenants.domain.roles import PLATFORM_ONLY, Powers, refuse_name, refuse_platform_only, refuse_unknown
from tenants.domain.subscriptions import UNPAID, TenantSubscription, of_event, of_order, says_enough, with_subscriptions
from tenants.domain.terms import Terms

from .billing_records import (
    NOW,
    PERIOD_END,
    SubscriptionActivated,
    SubscriptionCancelled,
    SubscriptionChanged,
    SubscriptionPastDue,
    SubscriptionSuspended,
    order_paid,
    plan,
    subscription,
)

CATALOGUE = [
    *("agents:read", "agents:write", "messages:send", "campaigns:publish", "reports:export", "payments:refund"),
    *("members:read", "members:write", "users:read", "roles:read", "roles:write", "api_keys:read", "audit:read"),
    *("privacy:write", "billing:read", "billing:configure", "email_settings:read", "email_settings:write"),
    *("payments:claim", "payments:attest"),
]
GRACE = timedelta(days=3)
TENANT = new_tenant(UUID(int=9), "Acme", "acme", TenantStatus.ACTIVE, NOW)


@pytest.mark.parametrize(
    ("scopes", "permissions"),
    [
        (["read"], ["agents:read", "billing:read", "email_settings:read"]),
        (
            ["write"],
            [
                *("agents:read", "agents:write", "billing:read", "campaigns:publish", "email_settings:read"),
                *("messages:send", "reports:export"),
            ],
        ),
        (
            ["full"],
            [
                *("agents:read", "agents:write", "billing:read", "campaigns:publish", "email_settings:read"),
                *("messages:send", "payments:refund", "reports:export"),
            ],
        ),
        (["read", "members:write"], ["agents:read", "billing:read", "email_settings:read", "members:write"]),
        (["payments:claim"], ["payments:claim"]),
        (["unknown:thing", "admin"], []),
        ([], []),
    ],
)
def test_what_scopes_open(scopes: list[str], permissions: list[str]) -> None:
    assert permissions_of_scopes(scopes, CATALOGUE) == tuple(permissions)


@given(st.lists(st.sampled_from(["read", "write", "full"])))
def test_no_named_scope_gives_people_keys_or_the_platforms_own(scopes: list[str]) -> None:
    found = set(permissions_of_scopes(scopes, CATALOGUE))
    assert found.isdisjoint(PLATFORM_ONLY | {"billing:configure", "email_settings:write"})
    assert {name.split(":")[0] for name in found}.isdisjoint(
        {"members", "users", "roles", "api_keys", "audit", "privacy"}
    )


@pytest.mark.parametrize(
    ("allowed", "address", "is_allowed"),
    [
        ([], None, True),
        ([], "203.0.113.7", True),
        (["203.0.113.0/24"], "203.0.113.7", True),
        (["203.0.113.0/24"], "203.0.114.7", False),
        (["203.0.113.7"], "::ffff:203.0.113.7", True),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "203.0.113.7", False),
        (["203.0.113.7"], "203.0.113.70", False),  # the seed compared substrings
        (["203.0.113.7"], "1.203.0.113.7", False),
        (["203.0.113.7"], "", False),
        (["203.0.113.7"], None, False),
        (["203.0.113.7"], "unknown", False),
    ],
)
def test_from_where_a_key_works(allowed: list[str], address: str | None, is_allowed: bool) -> None:
    assert is_allowed_from(normal_networks(allowed), address) is is_allowed


@pytest.mark.parametrize("wrong", ["", "10.0.0.0/33", "10.0.0", "example.com", "10.0.0.1 10.0.0.2", "*", "1::2::3"])
def test_a_network_that_is_none(wrong: str) -> None:
    with pytest.raises(Invalid) as refused:
        normal_networks(["10.0.0.0/8", wrong])
    assert refused.value.errors[0].field == "$.allowedIps[1]"


def test_networks_have_one_spelling() -> None:
    assert normal_networks([" 10.1.2.3/8 ", "10.0.0.0/8", "::1"]) == ["10.0.0.0/8", "::1/128"]


def test_nobody_gives_more_than_they_have() -> None:
    admin = Powers(permissions=frozenset({"a:read", "a:write"}))
    admin.refuse_role("manager", ["a:read"])
    with pytest.raises(Forbidden, match="a:delete"):
        admin.refuse_beyond(["a:read", "a:delete"])
    with pytest.raises(Forbidden, match="owner"):
        admin.refuse_role("owner", [])
    Powers(permissions=frozenset(), is_owner=True).refuse_role("owner", [])
    Powers(permissions=frozenset(), is_platform_admin=True).refuse_role("owner", [])


def test_what_no_role_of_a_tenant_is_or_has() -> None:
    for name in ("owner", "superadmin", "super_admin", "platform_admin"):
        with pytest.raises(Invalid):
            refuse_name(name)
    refuse_name("receptionist")
    for permission in ("payments:claim", "payments:attest"):
        with pytest.raises(Forbidden):
            refuse_platform_only(["agents:read", permission])
    refuse_platform_only(["payments:refund"])
    with pytest.raises(Invalid) as unknown:
        refuse_unknown(["agents:read", "agents:fly"], CATALOGUE)
    assert unknown.value.errors[0].message == "unknown: agents:fly"


def test_a_tenant_keeps_an_owner() -> None:
    user = new_user(uuid4(), "a@example.com", "A", NOW)
    owner = new_membership(user, UUID(int=9), "owner", MemberStatus.ACTIVE, NOW)
    idle = msgspec.structs.replace(owner, status=MemberStatus.SUSPENDED)
    for after in (
        None,
        changed_member(owner, MemberChange(role="admin")),
        changed_member(owner, MemberChange(status="inactive")),
    ):
        with pytest.raises(Conflict):
            refuse_last_owner(owner, after, 0)
        refuse_last_owner(owner, after, 1)
        refuse_last_owner(idle, after, 0)
    refuse_last_owner(owner, changed_member(owner, MemberChange(name="B", permissions=["b:c", "a:b", "b:c"])), 0)
    assert changed_member(owner, MemberChange(permissions=["b:c", "a:b", "b:c"])).permissions == ["a:b", "b:c"]


@pytest.mark.parametrize("status", list(UserStatus))
def test_who_is_shut_out(status: UserStatus) -> None:
    user = msgspec.structs.replace(new_user(uuid4(), "a@example.com", "A", NOW), status=status)
    shut = {UserStatus.SUSPENDED, UserStatus.INACTIVE, UserStatus.ERASED}
    assert is_barred(user) is (status in shut)
    member = new_membership(user, UUID(int=9), "owner", MemberStatus.SUSPENDED, NOW)
    assert is_barred(user, member)
    assert is_barred(user, msgspec.structs.replace(member, status=MemberStatus.PENDING)) is (status in shut)
    assert not has_strangers_password(user)
    assert has_strangers_password(msgspec.structs.replace(user, password_hash="x"))
    assert not has_strangers_password(msgspec.structs.replace(user, password_hash="x", email_verified_at=NOW))


def a_claim(**fields: Any) -> PaymentClaim:
    facts: dict[str, Any] = {
        "tenant_id": UUID(int=9),
        "id": uuid4(),
        "session_id": "cs_1",
        "user_id": uuid4(),
        "email": "a@example.com",
        "name": "A",
        "plan_slug": "essencial",
        "amount_cents": None,
        "is_attested": False,
        "is_new_user": True,
        "is_new_tenant": True,
        "status": ClaimStatus.PENDING,
        "reason": None,
        "made_by": "key",
        "created_at": NOW,
        "expires_at": NOW,
        "ended_at": None,
    }
    return PaymentClaim(**facts | fields)


@given(st.lists(st.sampled_from([ClaimStatus.CONFIRMED, ClaimStatus.REFUSED, ClaimStatus.EXPIRED]), max_size=5))
def test_a_claim_that_was_confirmed_stays_so(steps: list[ClaimStatus]) -> None:
    claim = a_claim()
    for step in steps:
        before, claim = claim, ended(claim, step, NOW, "why")
        assert (claim == before) is (step not in NEXT_CLAIM[before.status])
        assert (claim.ended_at is None) is (claim.status is ClaimStatus.PENDING)
    assert (claim.status is ClaimStatus.CONFIRMED) is (ClaimStatus.CONFIRMED in steps)
    assert may_be_claimed_again(claim) is (claim.status in (ClaimStatus.REFUSED, ClaimStatus.EXPIRED))


def test_tenants_are_named_after_their_buyers() -> None:
    assert name_from("  Clínica   São João ", "x@example.com") == "Clínica São João"
    assert name_from(None, "ana@clinica.example.com") == "clinica.example.com"
    assert name_from("", None) == "Company"
    assert slug_from("Clínica São João & Filhos") == "clinica-sao-joao-filhos"
    assert slug_from("日本") == "company"
    assert len(slug_from("x" * 500)) == 48


def test_what_is_told_of_a_tenant() -> None:
    def told(before: TenantStatus, after: TenantStatus) -> Any:
        was = msgspec.structs.replace(TENANT, status=before, status_reason="why")
        return type(tenant_event(was, msgspec.structs.replace(was, status=after), NOW))

    assert type(tenant_event(None, TENANT, NOW)) is TenantCreated
    assert tenant_event(TENANT, TENANT, NOW) is None
    assert type(tenant_event(TENANT, msgspec.structs.replace(TENANT, phone="1"), NOW)) is TenantUpdated
    assert told(TenantStatus.ACTIVE, TenantStatus.SUSPENDED) is TenantSuspended
    assert told(TenantStatus.SUSPENDED, TenantStatus.ACTIVE) is TenantReactivated
    assert told(TenantStatus.ACTIVE, TenantStatus.CLOSED) is TenantClosed
    assert told(TenantStatus.PENDING, TenantStatus.ACTIVE) is TenantUpdated
    assert told(TenantStatus.CLOSED, TenantStatus.ACTIVE) is TenantReactivated


def test_which_tenants_a_payment_opens() -> None:
    closed = msgspec.structs.replace(TENANT, status=TenantStatus.CLOSED, status_reason="asked for")
    assert not is_waiting(closed)
    assert is_waiting(msgspec.structs.replace(closed, status_reason=PAYMENT_REFUSED))
    assert is_waiting(msgspec.structs.replace(TENANT, status=TenantStatus.PENDING))
    assert not is_waiting(TENANT)
    with pytest.raises(Conflict, match="closed"):
        refuse_move(closed, TenantStatus.SUSPENDED)


def test_a_change_of_a_tenant_touches_nothing_else() -> None:
    colored = changed_tenant(TENANT, TenantChange(branding={"brand_color": "#000000", "logo_url": "https://x"}))
    assert colored.branding == {"brand_color": "#000000", "logo_url": "https://x"}
    bare = changed_tenant(colored, TenantChange(branding={"logo_url": None}, phone=None, name="B"))
    assert (bare.branding, bare.name, bare.slug) == ({"brand_color": "#000000"}, "B", "acme")


def test_links_lead_to_the_front_end() -> None:
    terms = Terms(frontend_url="https://x.example", admin_email=None, invitation=GRACE, claim=GRACE, grace=GRACE)
    assert terms.link("reset-password", "t0-_k") == "https://x.example/reset-password?token=t0-_k"


@given(st.lists(st.integers(0, 2_500_000), min_size=1, max_size=4))
def test_every_token_so_far_is_called_back(microseconds_between: list[int]) -> None:
    """However soon one call back follows on another, with a sign-in in between."""
    user, now = new_user(uuid4(), "ana@example.com", "Ana", NOW), NOW
    for pause in microseconds_between:
        now += timedelta(microseconds=pause)
        iat = int(max(now, user.tokens_valid_from).timestamp())  # as access_tokens says it
        user = msgspec.structs.replace(user, tokens_valid_from=new_valid_from(user, now))
        assert iat < user.tokens_valid_from.timestamp()
        assert user.tokens_valid_from.microsecond == 0


ID = UUID("01900000-0000-7000-8000-000000000001")
LATER_ID = UUID("01900000-0000-7000-8000-000000000002")


def row(status: str, subscription_id: UUID = ID, **fields: Any) -> TenantSubscription:
    facts: dict[str, Any] = {
        "tenant_id": TENANT.tenant_id,
        "subscription_id": subscription_id,
        "version": 1,
        "status": status,
        "plan_slug": "essencial",
        "limits": {"agents": 3, "users": 5},
        "paid_until": None,
        "told_at": NOW,
    }
    return TenantSubscription(**facts | fields)


def test_limits_are_what_all_that_runs_allows() -> None:
    alone = with_subscriptions(TENANT, [row("active")], GRACE)
    assert (alone.limits, alone.plan_slug, alone.access_until) == ({"agents": 3, "users": 5}, "essencial", None)
    dearer = row("trialing", LATER_ID, limits={"agents": 10}, plan_slug="enterprise")
    both = with_subscriptions(TENANT, [dearer, row("past_due")], GRACE)
    assert (both.limits, both.plan_slug) == ({"agents": 10}, "enterprise")
    left = with_subscriptions(both, [msgspec.structs.replace(dearer, status="cancelled"), row("past_due")], GRACE)
    assert (left.limits, left.plan_slug, left.access_until) == ({"agents": 3, "users": 5}, "essencial", None)


@pytest.mark.parametrize("status", ["suspended", "paused", "cancelled"])
def test_access_ends_a_grace_after_the_last_paid_day(status: str) -> None:
    assert with_subscriptions(TENANT, [row(status)], GRACE).access_until == NOW + GRACE
    paid = row(status, paid_until=PERIOD_END)
    assert with_subscriptions(TENANT, [paid], GRACE).access_until == PERIOD_END + GRACE
    assert with_subscriptions(TENANT, [paid, row(status, LATER_ID)], GRACE).access_until == PERIOD_END + GRACE
    late = row(status, paid_until=NOW - timedelta(days=90))
    assert with_subscriptions(TENANT, [late], GRACE).access_until == NOW + GRACE


def test_what_never_ran_takes_nothing_away() -> None:
    assert with_subscriptions(TENANT, [], GRACE) is TENANT
    assert with_subscriptions(TENANT, [row("incomplete"), row("void", LATER_ID)], GRACE) is TENANT


def test_only_what_was_unpaid_is_lifted_by_a_payment() -> None:
    unpaid = msgspec.structs.replace(TENANT, status=TenantStatus.SUSPENDED, status_reason=UNPAID, access_until=NOW)
    lifted = with_subscriptions(unpaid, [row("active")], GRACE)
    assert (lifted.status, lifted.status_reason, lifted.access_until) == (TenantStatus.ACTIVE, None, None)
    assert with_subscriptions(unpaid, [row("cancelled")], GRACE).status is TenantStatus.SUSPENDED
    abuse = msgspec.structs.replace(unpaid, status_reason="abuse")
    assert with_subscriptions(abuse, [row("active")], GRACE).status is TenantStatus.SUSPENDED


def test_what_an_event_says_of_a_subscription() -> None:
    def read(kind: Any, **fields: Any) -> TenantSubscription:
        return of_event(subscription(kind, TENANT.tenant_id, ID, **fields), 7)

    active = read(SubscriptionActivated, plan=plan("pro", agents=9))
    assert (active.version, active.status, active.plan_slug, active.limits) == (7, "active", "pro", {"agents": 9})
    assert read(SubscriptionPastDue).status == "past_due"
    assert read(SubscriptionSuspended).paid_until is None, "the period that goes on is not paid"
    assert read(SubscriptionCancelled).paid_until == PERIOD_END
    for reason in ("delinquent", "refunded", "disputed"):
        assert read(SubscriptionCancelled, reason=reason).paid_until is None
    assert read(SubscriptionCancelled, previous_status="incomplete").status == "void"
    bought = of_order(order_paid(TENANT.tenant_id, subscription_id=ID))
    assert (bought.version, bought.status, bought.subscription_id) == (0, "active", ID)
    single = order_paid(TENANT.tenant_id, subscription_id=None)
    assert of_order(single).subscription_id == single.order_id


def test_why_one_ended_is_said_by_its_end_only() -> None:
    changed = subscription(SubscriptionChanged, TENANT.tenant_id, ID, status="cancelled")
    assert not says_enough(changed)
    assert says_enough(subscription(SubscriptionChanged, TENANT.tenant_id, ID))
    assert says_enough(subscription(SubscriptionCancelled, TENANT.tenant_id, ID))


_EVENTS = [
    SubscriptionActivated,
    SubscriptionChanged,
    SubscriptionPastDue,
    SubscriptionSuspended,
    SubscriptionCancelled,
]


@given(
    st.lists(
        st.tuples(st.sampled_from(_EVENTS), st.sampled_from([ID, LATER_ID]), st.integers(0, 90)), min_size=1, max_size=6
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_events_does_not_matter(history: list[tuple[Any, UUID, int]], random: Any) -> None:
    """F14, of the decision alone: whatever order they come in, the newest of each subscription is what counts."""
    told = [
        of_event(
            subscription(kind, TENANT.tenant_id, which, occurred_at=NOW + timedelta(days=day), plan=plan(agents=day)),
            version,
        )
        for version, (kind, which, day) in enumerate(history, 1)
    ]

    def settled(events: list[TenantSubscription]) -> Any:
        tenant, rows = TENANT, dict[UUID, TenantSubscription]()
        for event in events:
            known = rows.get(event.subscription_id)
            if known is None or known.version < event.version:
                rows[event.subscription_id] = event
                tenant = with_subscriptions(tenant, list(rows.values()), GRACE)
        return tenant

    shuffled = list(told)
    random.shuffle(shuffled)
    assert settled(shuffled) == settled(told)
