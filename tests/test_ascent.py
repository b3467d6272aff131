"""Images made for a class: laws of the ascent, and that they carry the class at 8 bits."""

import numpy as np
import torch
from tiny import TinyData, lenet

from core import models
from core.ascent import ascend
from results import fooling
from results.files import Root
from search.engine.bank import Bank
from search.engine.study import Place
from search.inputs.loading import Inputs
from search.inputs.pictures import Pictures, Piece
from search.measures import fooling as made


def linear(pixels):
    """Class 0: the sum of the left half; class 1: of the right."""
    return torch.stack([pixels[..., :4].sum((1, 2, 3)), pixels[..., 4:].sum((1, 2, 3))], 1)


def test_steps_follow_the_gradient_of_the_objective():
    start = torch.full((1, 1, 8, 8), 0.5)
    classes = torch.tensor([1])
    free = ascend(linear, start, classes, step=0.01, n_steps=3)
    expected = start.clone()
    expected[..., 4:] += 0.03
    torch.testing.assert_close(free.pixels, expected)
    np.testing.assert_allclose(free.logits[:, 0], [16.0, 16.32, 16.64], rtol=1e-6)
    image = torch.full_like(start, 0.2)
    held = ascend(linear, start, classes, step=0.01, n_steps=400, image=image, beta=64.0)
    objective = image.clone()  # 1 = beta 2 (x - image) / 64 where the logit has a slope
    objective[..., 4:] += 0.5
    torch.testing.assert_close(held.pixels, objective, atol=1e-3, rtol=0)


def test_no_beta_is_free_and_a_boundless_one_returns_the_image():
    network, start, image = lenet(), torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    how = {"step": 0.5, "n_steps": 4}
    classes = torch.tensor([0, 1])
    free = ascend(network, start, classes, **how)
    same = ascend(network, start, classes, image=image, beta=0.0, **how)
    assert torch.equal(free.pixels, same.pixels)
    held = ascend(network, start, classes, image=image, beta=1e9, **how)
    torch.testing.assert_close(held.pixels, image, atol=1e-5, rtol=0)
    assert 0 <= free.pixels.min() < free.pixels.max() <= 1


def test_rows_are_of_the_images_at_8_bits(tmp_path):
    bank, network = Bank(Root(str(tmp_path))), lenet()
    images, labels = TinyData().batch("search", range(4))
    ids = torch.tensor([3, 1, 0, 2])
    piece, _ = bank.put(
        {"images": images, "labels": labels.clone(), "ids": ids, "undefended": labels.clone()}
    )
    weights, _ = bank.put(*models.to_tensors(network))
    judge, _ = bank.put(*models.to_tensors(lenet(1)))
    benign = Pictures((Piece(piece, "search", "benign", ids.numpy(), labels.numpy(), labels),))
    inputs = Inputs(
        data="digits", side=8, fingerprint="tiny", model="lenet", seed=0, precision="fp32"
    )
    free, held = made.cells(
        inputs, {"plain": weights}, judge, benign, betas=[1], n_starts=3, n_steps=5, step=0.5
    )
    assert (held.places, held.n_starts) == ((2, 1), 1)  # of each class the lowest id
    place = Place("cpu", 1, bank, lambda: "")
    for cell, n, sources in ((free, 6, {-1}), (held, 2, {0, 1})):
        found = made.STUDY.evaluate(cell, made.STUDY.load(cell, place))
        columns, seen = found.columns, found.tensors["images"]
        assert (len(seen), {*columns["source"].tolist()}) == (n, sources)
        assert (columns["source"] != columns["target"]).all()
        logits = network(seen / 255).detach()
        np.testing.assert_array_equal(columns["predicted"], logits.argmax(1))
        np.testing.assert_array_equal(columns["judged"], lenet(1)(seen / 255).argmax(1))
        own = logits.gather(1, torch.as_tensor(columns["target"])[:, None])[:, 0]
        np.testing.assert_allclose(columns["logit"], own, rtol=1e-4)
        assert (columns["logit"] > columns["first_logit"]).all()
        assert (columns["predicted"] == columns["target"]).all()  # they carry the class
        assert found.tensors["logits"].shape == (n, 5)
    near = (seen[0] / 255 - images[2] / 255).square().sum()
    np.testing.assert_allclose(columns["sse"][0], near, rtol=1e-4)


def test_the_nearest_of_those_that_reach_their_target_is_taken():
    columns = {
        "network": ["plain"] * 4, "source": [1, 1, 1, -1], "target": [2, 2, 2, 2],
        "predicted": [2, 2, 1, 2], "sse": [9.0, 4.0, 1.0, 0.0], "n_values": [400] * 4,
    }  # fmt: skip
    found = fooling.nearest(fooling.pd.DataFrame(columns))
    assert found["sse"].tolist() == [4.0]
    np.testing.assert_allclose(found["psnr_db"], 20.0)
