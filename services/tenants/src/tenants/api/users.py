"""A tenant's people over HTTP, in seed 002's shapes."""

from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction
from chassis.idempotency import once
from chassis.identity import Identity, requires, tenant_of
from contracts.errors import FieldError, Invalid, NotFound
from tenants import store
from tenants.api.access import doer_of
from tenants.api.seed_errors import seed_errors
from tenants.api.user_shapes import (
    Done,
    Limit,
    NewUser,
    Page,
    UserAnswer,
    UserList,
    UserListAnswer,
    UserPatch,
    Word,
    user_view,
)
from tenants.domain.emails import normal_email
from tenants.domain.members import MemberChange
from tenants.domain.passwords_policy import accepted_password
from tenants.domain.people import Person
from tenants.domain.sign_in_limits import MAILS
from tenants.domain.terms import Terms
from tenants.passwords import Passwords
from tenants.usecases.add_member import NewMember, add_member
from tenants.usecases.change_member import change_member
from tenants.usecases.find_powers import find_powers
from tenants.usecases.remove_member import remove_member
from tenants.usecases.resend_welcome import resend_welcome
from tenants.usecases.take_tries import take_tries

_MAX_PREFERENCES_BYTES = 16_384


@get(["/users", "/auth/users"], guards=[requires("users:read")], exception_handlers=seed_errors("002"))
async def list_users(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    page: Page = 1,
    limit: Limit = 20,
    role: Word = None,
    status: Word = None,
    search: Word = None,
) -> UserListAnswer:
    """The tenant's people, newest first."""
    tenant_id = tenant_of(identity)
    async with platform_transaction(db) as conn:
        people = await store.memberships.list_people(
            conn, tenant_id, offset=(page - 1) * limit, limit=limit, role=role, status=status, search=search
        )
        total = await store.memberships.count_people(conn, tenant_id, role=role, status=status, search=search)
    return UserListAnswer(
        success=True, data=UserList(users=[user_view(one) for one in people], total=total, page=page, limit=limit)
    )


@post("/users", guards=[requires("users:write")], exception_handlers=seed_errors("002"))
async def post_user(
    data: JSONBody[NewUser],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    passwords: NamedDependency[Passwords],
    terms: NamedDependency[Terms],
    clock: NamedDependency[Clock],
) -> Response[UserAnswer]:
    """Adds somebody to the tenant. Whoever has an account already gets the membership; their password stays theirs.

    An Idempotency-Key adds them once.
    """
    tenant_id, now, email = tenant_of(identity), clock(), normal_email(data.email)
    password_hash = None
    if data.password is not None:
        password_hash = await passwords.hash(accepted_password(data.password, email=email))
    new = NewMember(
        email=email,
        name=data.name,
        role=data.role,
        phone=data.phone,
        avatar=data.avatar,
        permissions=data.permissions,
        password_hash=password_hash,
    )

    async def add(conn: Connection) -> UserAnswer:
        powers = await find_powers(conn, tenant_id, identity)
        user_id = await add_member(conn, tenant_id, new, powers=powers, by=doer_of(request), terms=terms, now=now)
        person = await get_person(conn, tenant_id, user_id)
        return UserAnswer(success=True, message="User created successfully", data=user_view(person))

    # The body is stored as a hash that is quick to compute: no password goes into it.
    return await once(request, db, msgspec.structs.replace(data, password=None), add, on_platform=True)


@get("/users/{user_id:uuid}", guards=[requires("users:read")], exception_handlers=seed_errors("002"))
async def get_user(
    db: NamedDependency[Database], identity: NamedDependency[Identity], user_id: FromPath[UUID]
) -> UserAnswer:
    """One of the tenant's people."""
    async with platform_transaction(db) as conn:
        person = await get_person(conn, tenant_of(identity), user_id)
    return UserAnswer(success=True, data=user_view(person))


@put("/users/{user_id:uuid}", guards=[requires("users:write")], exception_handlers=seed_errors("002"))
async def put_user(
    data: JSONBody[UserPatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    terms: NamedDependency[Terms],
    clock: NamedDependency[Clock],
    user_id: FromPath[UUID],
) -> UserAnswer:
    """Changes one of the tenant's people; what is absent stays, as seed 002's front end expects of PUT."""
    return await _change(data, request, db, passwords, terms, clock, user_id)


@patch("/users/{user_id:uuid}", guards=[requires("users:write")], exception_handlers=seed_errors("002"))
async def patch_user(
    data: JSONBody[UserPatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    terms: NamedDependency[Terms],
    clock: NamedDependency[Clock],
    user_id: FromPath[UUID],
) -> UserAnswer:
    """Changes one of the tenant's people."""
    return await _change(data, request, db, passwords, terms, clock, user_id)


@delete(
    "/users/{user_id:uuid}", guards=[requires("users:write")], exception_handlers=seed_errors("002"), status_code=200
)
async def delete_user(
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    user_id: FromPath[UUID],
) -> Done:
    """Takes somebody out of the tenant. The account is theirs, and stays."""
    tenant_id = tenant_of(identity)
    async with platform_transaction(db) as conn:
        powers = await find_powers(conn, tenant_id, identity)
        await remove_member(conn, tenant_id, user_id, powers=powers, by=doer_of(request), now=clock())
    return Done(success=True, message="User deleted successfully")


@post(
    "/users/{user_id:uuid}/resend-welcome-email",
    guards=[requires("users:write")],
    exception_handlers=seed_errors("002"),
    status_code=200,
)
async def post_welcome(
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    terms: NamedDependency[Terms],
    clock: NamedDependency[Clock],
    user_id: FromPath[UUID],
) -> Done:
    """Mails a new link to somebody who has not chosen a password yet; the old one is good for nothing any more."""
    tenant_id = tenant_of(identity)
    async with platform_transaction(db) as conn:
        person = await get_person(conn, tenant_id, user_id)
    await take_tries(db, (MAILS, person.email or str(user_id)))
    async with platform_transaction(db) as conn:
        await resend_welcome(conn, tenant_id, user_id, by=doer_of(request), terms=terms, now=clock())
    return Done(success=True, message="Welcome email sent successfully")


async def _change(
    data: UserPatch,
    request: StrictRequest,
    db: Database,
    passwords: Passwords,
    terms: Terms,
    clock: Clock,
    user_id: UUID,
) -> UserAnswer:
    tenant_id, now = tenant_of(request.user), clock()
    wanted = {name: value for name, value in msgspec.structs.asdict(data).items() if name != "password"}
    if data.email is not UNSET:
        wanted["email"] = normal_email(data.email)
    if data.preferences is not UNSET and len(msgspec.json.encode(data.preferences)) > _MAX_PREFERENCES_BYTES:
        raise Invalid("Too much.", code="too_long", errors=[FieldError("$.preferences", "is over 16 KiB")])
    if data.password is not UNSET:
        async with platform_transaction(db) as conn:
            person = await get_person(conn, tenant_id, user_id)
        email = wanted["email"] if data.email is not UNSET else person.email
        wanted["password_hash"] = await passwords.hash(accepted_password(data.password, email=email))
    async with platform_transaction(db) as conn:
        powers = await find_powers(conn, tenant_id, request.user)
        change = MemberChange(**wanted)
        await change_member(conn, tenant_id, user_id, change, powers=powers, by=doer_of(request), terms=terms, now=now)
        person = await get_person(conn, tenant_id, user_id)
    return UserAnswer(success=True, message="User updated successfully", data=user_view(person))


async def get_person(conn: Connection, tenant_id: UUID, user_id: UUID) -> Person:
    """Somebody of the tenant. Raises NotFound, also for another tenant's."""
    person = await store.memberships.find_person(conn, tenant_id, user_id)
    if person is None:
        raise NotFound("User not found")
    return person


ROUTES = [list_users, post_user, get_user, put_user, patch_user, delete_user, post_welcome]
