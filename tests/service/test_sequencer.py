"""The sequencer: every event once, in a stable order, whatever happens around it."""

import asyncio

import pytest
import sqlalchemy as sa

from bode.engine.sequencer import Sequencer
from bode.evidence.merkle import EMPTY_ROOT, node_hash, verify_consistency, verify_inclusion
from bode.store import tables
from bode.store.evidence_log import (
    Checkpoint,
    NotCoveredError,
    length,
    prove_events,
    prove_growth,
    read_right_edge,
    sequence,
)


def root_of(leaves):
    """Compute a root as RFC 6962 defines it, slowly."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_of(leaves[:half]), root_of(leaves[half:]))


async def in_order(app):
    leaf, event = tables.evidence_leaf.c, tables.event.c
    async with app.database.read() as connection:
        rows = await connection.execute(
            sa.select(leaf.position, event.id, event.hash)
            .join_from(tables.evidence_leaf, tables.event, leaf.event_id == event.id)
            .order_by(leaf.position)
        )
        return [(row.position, row.id, bytes(row.hash)) for row in rows]


async def root(app, size):
    async with app.database.read() as connection:
        return (await read_right_edge(connection, size)).root()


@pytest.mark.parametrize("batch", [1, 7, 255, 256, 257, 4096])
async def test_batches_of_any_size_make_the_same_tree(app, many_events, batch):
    messages = await many_events(app, 300)
    if batch == 1:
        messages = messages[:60]
    sequencer = Sequencer(app.database, batch=batch)
    for _ in range(len(messages) if batch == 1 else 600):
        if not await sequencer.work():
            break
    rows = await in_order(app)
    assert [position for position, _, _ in rows] == list(range(len(rows)))
    assert [event for _, event, _ in rows] == sorted(event for _, event, _ in rows)
    assert await root(app, len(rows)) == root_of([hashed for _, _, hashed in rows])
    assert batch == 1 or len(rows) == 600


async def test_proofs_hold_for_every_size_and_event(app, many_events):
    messages = await many_events(app, 300)
    sizes, sequencer = [], Sequencer(app.database, batch=77)
    while await sequencer.work():
        async with app.database.read() as connection:
            sizes.append(await length(connection))
    hashes = [hashed for _, _, hashed in await in_order(app)]
    async with app.database.read() as connection:
        for size in sizes:
            state = Checkpoint("test", size, root_of(hashes[:size]), "", app.clock.now(), {})
            for message in (messages[0], messages[(size - 1) // 2]):
                seqs = [1, 2] if size % 2 == 0 else [1]
                for item in await prove_events(connection, message, seqs, state):
                    leaf = hashes[item.position]
                    assert verify_inclusion(
                        leaf=leaf, index=item.position, size=size, root=state.root, proof=item.proof
                    )
        for old in sizes:
            proof = await prove_growth(connection, old, 600)
            assert verify_consistency(
                old=old, old_root=root_of(hashes[:old]), new=600, new_root=root_of(hashes), proof=proof
            )


async def test_an_event_after_the_checkpoint_is_said_not_to_be_covered(app, many_events):
    first, second = await many_events(app, 2)
    await Sequencer(app.database, batch=2).work()
    async with app.database.read() as connection:
        state = Checkpoint("test", 2, bytes(32), "", app.clock.now(), {})
        assert len(await prove_events(connection, first, [1, 2], state)) == 2
        with pytest.raises(NotCoveredError, match="no checkpoint covers events 1, 2") as missing:
            await prove_events(connection, second, [1, 2], state)
    assert missing.value.seqs == (1, 2)


async def test_a_transaction_that_commits_late_is_not_skipped(pg_app, many_events):
    """Its ids are smaller than those that were sequenced while it was open."""
    sequencer = Sequencer(pg_app.database)
    early = await many_events(pg_app, 1)
    async with pg_app.database.write() as late:
        (slow,) = await many_events(pg_app, 1, connection=late)
        after = await many_events(pg_app, 3)
        assert await sequencer.work() == 8
        sequenced = {row.event_id for row in await pg_app.rows(tables.evidence_leaf)}
        assert await sequencer.work() == 0
    assert await sequencer.work() == 2
    rows = await pg_app.rows(tables.event)
    late_ids = {row.id for row in rows if row.message_id == slow}
    assert max(late_ids) < max(sequenced)
    assert {row.event_id for row in await pg_app.rows(tables.evidence_leaf)} == {row.id for row in rows}
    assert len(rows) == 2 * len([*early, *after, slow])


async def test_two_sequencers_at_once_put_every_event_in_once(make_app, database_url, many_events):
    app = await make_app(database_url)
    other = await make_app(database_url, beside=app)
    sequencers = [Sequencer(one.database, batch=50) for one in (app, other)]
    done = asyncio.Event()

    async def go_on(sequencer):
        while not done.is_set() or await app.rows(tables.event_pending):
            await sequencer.work()
            await asyncio.sleep(0)

    async def add():
        for _ in range(20):
            await many_events(app, 20)
        done.set()

    await asyncio.gather(*(go_on(sequencer) for sequencer in sequencers), add())
    rows = await in_order(app)
    assert [position for position, _, _ in rows] == list(range(800))
    assert len({event for _, event, _ in rows}) == 800
    assert await root(app, 800) == root_of([hashed for _, _, hashed in rows])


async def test_while_another_sequences_this_one_leaves_it_to_them(pg_app, many_events):
    await many_events(pg_app, 1)
    async with pg_app.database.write() as busy:
        assert await sequence(busy) == 2
        async with pg_app.database.write() as second:
            assert await sequence(second) == 0
    assert await Sequencer(pg_app.database).work() == 0
