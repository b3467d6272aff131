"""The worst case of a white box, and the derivative of a quantiser as an attack's setting."""

from functools import partial

import pytest
import torch
from attacked import reader

from core import attacks, codec
from core.attacks.worst import PARTS
from core.codec import qtable, rounding
from core.errors import InputError


def test_the_worst_case_is_several_attacks_of_one_budget():
    made = attacks.parse_attacks(["fgsm@2", "worst@8x3", "apgd@8x3"], channels=3, side=32)
    assert [attack.name for attack in made] == ["fgsm", *PARTS]  # apgd is among them
    assert all(attack.eps_255 == 8.0 for attack in made[1:])
    assert {attack.n_steps for attack in made[1:]} == {3, 1}  # Square takes queries
    usual = attacks.parse_attacks(["worst@0.5"], channels=1, side=8)
    assert usual[0] == attacks.Attack.with_defaults("apgd", eps_255=0.5, n_steps=40)
    assert sum(attack.through == "cubic" for attack in usual) == 4
    for text in (
        "worst",
        "worst@",
        "worst@8x",
        "worst@8x0",
        "worst@-1",
        "worst:a=1@8",
        "worst@8x3x2",
    ):
        with pytest.raises(InputError, match="worst@EPS or worst@EPSxSTEPS"):
            attacks.parse_attacks([text], channels=3, side=32)


def test_the_quantisers_derivative_is_a_setting_of_every_gradient_attack():
    for name in attacks.NAMES:
        if name.startswith("square"):
            with pytest.raises(InputError, match="has the settings"):
                attacks.Attack.with_defaults(f"{name}:through=cubic", eps_255=2.0)
            continue
        own = attacks.Attack.with_defaults(f"{name}:through=cubic", eps_255=2.0)
        assert (own.through, own.name) == ("cubic", f"{name}:through=cubic")
        assert own.without("through") == attacks.Attack.with_defaults(name, eps_255=2.0)
    with pytest.raises(InputError, match="expected through one of identity, cubic, soft"):
        attacks.Attack.with_defaults("pgd:through=linear")


def on_victim(attack, victim, images, labels, **how):
    function, draws = attacks.through(attack, victim), int(attack.through == "dithered")
    return attacks.on_images(attack, function, images, labels, n_samples=draws, **how)


def test_a_victim_is_attacked_through_the_derivative_that_the_attack_names():
    """Each part against a plain call with that rounding; a dither draws from an image's own."""
    network, images, labels = reader()
    table = qtable.by_name("k3-of16-af116")

    def victim(pixels, _=None, *, rounding):
        return network(codec.compress(pixels, table, rounding=rounding))

    found = {}
    for name in ("identity", "cubic", "soft:w=0.25", "dithered"):
        text = "pgd" if name == "identity" else f"pgd:through={name}"
        attack = attacks.Attack.with_defaults(text, eps_255=24.0)
        how = {"image_ids": range(40), "seed": 0}
        found[name] = on_victim(attack, victim, images, labels, **how)
        if name != "dithered":
            plain = partial(victim, rounding=rounding.by_name(name))
            expected = attacks.on_images(attack, plain, images, labels, **how)
            assert torch.equal(found[name], expected)
        few = how | {"image_ids": [7, 3]}
        again = on_victim(attack, victim, images[[7, 3]], labels[[7, 3]], **few)
        torch.testing.assert_close(again, found[name][[7, 3]], atol=1e-6, rtol=0)
    assert len({attacked.sum().item() for attacked in found.values()}) == 4
