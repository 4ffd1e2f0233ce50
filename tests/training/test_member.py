"""What is deployed of a member."""

from support.toys import differences, seated, witness

from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.training.phases import deploy


def test_what_is_deployed_is_the_last_to_have_learned_or_every_private_client() -> None:
    handed = witness(seated(protocol=Vanilla(clients=3))).run
    (member,) = deploy(handed)[0]
    last = handed.cast.clients[-1].party.module.state_dict()
    assert differences(member.client.state_dict(), last) == []
    assert len(member.samples) == 48
    apart = witness(seated(protocol=Vanilla(clients=3, handover="none"))).run
    members = deploy(apart)[0]
    assert [len(m.samples) for m in members] == [16, 16, 16]
    for deployed, live in zip(members, apart.cast.clients, strict=True):
        assert differences(deployed.client.state_dict(), live.party.module.state_dict()) == []


def test_what_is_deployed_is_in_evaluation_mode_and_frozen() -> None:
    members, server = deploy(witness(seated(norm="batch", protocol=UShaped())).run)
    tail = members[0].tail
    assert tail is not None
    for module in (members[0].client, tail, server):
        assert not any(layer.training for layer in module.modules())
        assert not any(p.requires_grad for p in module.parameters())
