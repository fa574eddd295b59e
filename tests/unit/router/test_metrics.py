from prometheus_client import CollectorRegistry, generate_latest

from services.router.metrics import StateCollector
from tests.unit.router.world import World, record


def test_gauges_show_the_table_and_the_queues() -> None:
    world = World()
    world.up("a", slots=1, active=1)
    world.up("b", slots=1, active=1)
    world.table.register(record("c", "large", tier="max"))
    world.ask("x")
    registry = CollectorRegistry()
    registry.register(StateCollector(world.table.states, world.routing.tiers))
    text = generate_latest(registry).decode()
    assert 'tiermesh_router_runners{state="ready",tier="pro"} 2.0' in text
    assert 'tiermesh_router_runners{state="unknown",tier="max"} 1.0' in text
    assert 'tiermesh_router_runners{state="ready",tier="max"} 0.0' in text
    assert 'tiermesh_router_queue_depth{tier="pro"} 1.0' in text
    assert 'tiermesh_router_slots{tier="pro"} 2.0' in text
    assert 'tiermesh_router_slots_active{tier="pro"} 2.0' in text
    assert 'tiermesh_router_slots{tier="max"} 0.0' in text
    assert 'tiermesh_router_cold_start_seconds{tier="pro"} 0.0' in text
