"""Corruptions and transforms: scikit-image, SciPy, plain loops and distributions as oracles."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy import ndimage
from skimage import color, filters

from core import corruptions, frost, seeds, transforms
from core.corruptions import KINDS, SEVERITIES, corrupted
from core.defences import GaussianBlur
from core.errors import InputError
from core.known import CORRUPTIONS

TEXTURES = tuple(
    torch.randint(256, (3, 40 + i, 50), generator=torch.Generator().manual_seed(i)).to(torch.uint8)
    for i in range(3)
)


def draws(n: int, first: int = 0) -> list[torch.Generator]:
    return [seeds.generator(7, i) for i in range(first, first + n)]


def damaged(images, name: str, severity: int, first: int = 0, kind: str = "cifar10-c"):
    own = draws(len(images), first)
    return corrupted(images, name, severity, generators=own, kind=kind, textures=TEXTURES)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    places = ((60, 60), (150, 200), (300, 40), (0, 400))
    crops = [skimage.data.astronaut()[y : y + 32, x : x + 32] for y, x in places]
    crops[3][:4] = (0, 90, 255)  # black values, and a corner without colour
    crops[3][4:8] = 0
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


def raised(x, more):
    hsv = color.rgb2hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + more, 0, 1)
    return color.hsv2rgb(hsv)


def saturated(x, settings):
    hsv = color.rgb2hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * settings[0] + settings[1], 0, 1)
    return color.hsv2rgb(hsv)


def blurred(x, sigma):
    return np.stack([filters.gaussian(image, sigma=sigma, channel_axis=-1) for image in x])


@pytest.mark.parametrize("kind", KINDS)
def test_blur_brightness_and_saturation_are_scikit_images(images, kind):
    theirs = {"gaussian_blur": blurred, "brightness": raised, "saturate": saturated}
    x = images.permute(0, 2, 3, 1).numpy() / 255
    for name, change in theirs.items():
        for severity in range(1, 6):
            expected = np.clip(change(x, SEVERITIES[kind][name][severity - 1]), 0, 1)
            ours = damaged(images, name, severity, kind=kind).permute(0, 2, 3, 1)
            cut = (255 * expected + corruptions.ROUNDING).astype(np.uint8)
            assert np.array_equal(ours, cut), (name, severity)


def test_levels_are_cut_not_rounded():
    gray = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    assert (damaged(gray, "brightness", 1) == 112).all()  # 112.75
    assert (damaged(gray, "contrast", 5) == 100).all()


@pytest.mark.parametrize(("name", "moves"), [("gaussian_noise", 1.0), ("speckle_noise", 0.5)])
def test_noise_has_its_mean_and_deviation(name, moves):
    gray = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    for severity, sigma in enumerate(SEVERITIES["cifar10-c"][name], start=1):
        change = damaged(gray, name, severity).double() - 128 + 0.5  # cut: half a level down
        n, expected = change.numel(), 255 * sigma * (moves if moves == 1 else 128 / 255)
        assert abs(float(change.mean())) < 4 * expected / math.sqrt(n)
        with_cutting = math.hypot(expected, 1 / math.sqrt(12))
        assert float(change.std()) == pytest.approx(with_cutting, rel=4 / math.sqrt(2 * n))


def test_impulses_are_black_or_white_and_as_many_as_they_should_be():
    gray = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    n = gray.numel()
    for severity, share in enumerate(SEVERITIES["cifar10-c"]["impulse_noise"], start=1):
        out = damaged(gray, "impulse_noise", severity)
        assert set(out.unique().tolist()) == {0, 128, 255}
        for level in (0, 255):
            found, sd = float((out == level).double().mean()), math.sqrt(share / 2 / n)
            assert found == pytest.approx(share / 2, abs=4 * sd)


def test_plasma_is_the_diamond_square_algorithm():
    side, decay = 8, 1.75
    unit = iter(torch.rand(side**2, generator=draws(1)[0], dtype=torch.float64).tolist())
    grid, step, wobble = np.zeros((side, side)), side, 100.0
    while step >= 2:
        half = step // 2

        def put(rows, columns, near, wobble=wobble):
            for y in rows:
                for x in columns:
                    total = sum(grid[(y + dy) % side, (x + dx) % side] for dy, dx in near)
                    grid[y, x] = total / 4 + wobble**2 * (2 * next(unit) - 1)

        on, off = range(0, side, step), range(half, side, step)
        put(off, off, [(dy, dx) for dy in (-half, half) for dx in (-half, half)])
        cross = [(-half, 0), (half, 0), (0, -half), (0, half)]
        put(on, off, cross)
        put(off, on, cross)
        step, wobble = half, wobble / decay
    grid -= grid.min()
    ours = corruptions.plasma(draws(1), side=side, decay=decay)[0]
    np.testing.assert_allclose(ours, grid / grid.max(), atol=1e-12)


def test_fog_at_other_sides_is_cut_from_the_next_power_of_two():
    black = torch.zeros(2, 1, 20, 28, dtype=torch.uint8)
    black[:, :, -1, -1] = 255
    out = damaged(black, "fog", 5).double()
    cloud = corruptions.plasma(draws(2), side=32, decay=1.75)[:, None, :20, :28]
    expected = (255 * cloud * 1.5 / 2.5).floor()
    expected[:, :, -1, -1] = out[:, :, -1, -1]
    assert torch.equal(out, expected)


@pytest.mark.parametrize("factor", [1.25, 1.75, 2.25, 3.0, 4.5])
def test_zoom_is_scipys(factor):
    x = torch.rand(1, 1, 32, 32, dtype=torch.float64)
    cut = math.ceil(32 / factor)
    top = (32 - cut) // 2
    inner = x[0, 0].numpy()[top : top + cut, top : top + cut]
    large = ndimage.zoom(inner, factor, order=1)
    at = (len(large) - 32) // 2
    ours = corruptions._zoomed(x, factor)[0, 0]
    np.testing.assert_allclose(ours, large[at : at + 32, at : at + 32], atol=1e-12)


def test_motion_blur_weighs_places_along_each_images_angle():
    x = torch.rand(2, 1, 9, 9, dtype=torch.float64)
    degrees = torch.tensor([-60.0, -125.0], dtype=torch.float64)
    ours = corruptions._motion_blurred(x, radius=3, sigma=2.0, degrees=degrees)
    weights = np.exp(-(np.arange(7) ** 2) / 8)
    weights /= weights.sum()
    for image, angle in enumerate(np.deg2rad(degrees.numpy())):
        expected = np.zeros((9, 9))
        for place, weight in enumerate(weights):
            down, right = (math.ceil(place * f(angle) - 0.5) for f in (math.sin, math.cos))
            for y, column in np.ndindex(9, 9):
                at = min(max(y + down, 0), 8), min(max(column + right, 0), 8)
                expected[y, column] += weight * float(x[image, 0][at])
        np.testing.assert_allclose(ours[image, 0], expected, atol=1e-12)


def test_frost_adds_a_place_of_a_texture_and_snow_only_whitens(images):
    black = torch.zeros(60, 3, 32, 32, dtype=torch.uint8)
    out = damaged(black, "frost", 5)
    found = set()
    for image in out:
        for i, texture in enumerate(TEXTURES):
            shown = (0.45 * texture.double() + corruptions.ROUNDING).floor().to(torch.uint8)
            patches = shown.unfold(1, 32, 1).unfold(2, 32, 1)
            if (patches == image[:, None, None]).all(-1).all(-1).all(0).any():
                found.add(i)
                break
        else:
            raise AssertionError("no place of any texture")
    assert found == {0, 1, 2}
    assert (damaged(images, "snow", 3) >= images).all()


def test_an_image_does_not_depend_on_its_batch(images):
    for name in CORRUPTIONS:
        for severity in (1, 4):
            together = damaged(images, name, severity)
            alone = [damaged(images[i : i + 1], name, severity, first=i) for i in range(4)]
            assert torch.equal(together, torch.cat(alone)), name


@pytest.mark.parametrize("kind", KINDS)
def test_severities_are_in_order(images, kind):
    order = {name: range(1, 6) for name in CORRUPTIONS} | {"saturate": (3, 4, 5), "frost": (1, 2)}
    if kind == "imagenet-c":
        order |= {"snow": (2, 3), "fog": (1, 2, 3, 5)}  # whose numbers do not all rise
    for name, severities in order.items():
        errors = [
            float((damaged(images[:3], name, s, kind=kind).double() - images[:3]).square().mean())
            for s in severities
        ]
        assert errors == sorted(errors), (name, errors)


def test_textures_are_read_from_a_folder_and_shrunk_as_opencv_does(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(203, 167, 3), dtype=np.uint8)
    for i in range(1, 7):
        Image.fromarray(pixels).save(tmp_path / f"frost{i}.png")
    folder = frost.frost_folder(str(tmp_path))
    small, large = (frost.frost_textures(folder, kind) for kind in KINDS)
    assert len(small) == len(large) == 5
    assert torch.equal(large[0], torch.from_numpy(pixels).permute(2, 0, 1))
    assert tuple(small[0].shape) == (3, 41, 33)  # OpenCV rounds a fifth of the side
    # Its linear interpolation samples 5 (i + 1/2) - 1/2: a whole number.
    assert torch.equal(small[0], large[0][:, 2::5, 2::5])
    was = frost.frost_digest(folder)
    Image.fromarray(255 - pixels).save(tmp_path / "frost2.png")
    assert frost.frost_digest(folder) != was
    with pytest.raises(InputError, match="found none"):
        frost.frost_folder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "severity", "kind", "message"),
    [
        ("fogg", 1, "cifar10-c", "expected a corruption among"),
        ("fog", 0, "cifar10-c", "severity of 1..5"),
        ("fog", 6, "cifar10-c", "severity of 1..5"),
        ("fog", 1, "cifar", "severity of 1..5 of cifar10-c or imagenet-c"),
        ("saturate", 1, "cifar10-c", "saturation needs colour"),
        ("frost", 1, "cifar10-c", "photographs of ice"),
    ],
)
def test_what_cannot_be_corrupted_is_said(name, severity, kind, message):
    gray = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    with pytest.raises(InputError, match=message) as caught:
        corrupted(gray, name, severity, generators=draws(1), kind=kind)
    assert "\nHint: " in str(caught.value)


def test_small_textures_are_refused():
    with pytest.raises(InputError, match="larger than the images, 48x48"):
        damaged(torch.zeros(1, 3, 48, 48, dtype=torch.uint8), "frost", 1)


def test_a_transform_is_the_defence_or_corruption_of_its_name(images, tmp_path):
    def after(name):
        return transforms.transformed(images, name, generators=draws(4), textures=TEXTURES)

    assert after("none") is images
    assert torch.equal(after("fog@3"), damaged(images, "fog", 3))
    Image.fromarray(images[1].permute(1, 2, 0).numpy()).save(tmp_path / "a.jpg", quality=40)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert np.array_equal(after("jpeg40")[1].permute(1, 2, 0), picture)
    noise = after("noise0.05").double() - images
    assert float(noise[:3].std()) == pytest.approx(255 * 0.05, rel=0.1)
    kernel = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 1.1**2))
    kernel /= kernel.sum()
    expected = images.double().numpy()
    for axis in (2, 3):
        expected = ndimage.correlate1d(expected, kernel, axis=axis, mode="mirror")
    assert np.abs(after("blur5").double().numpy() - expected).max() <= 0.5 + 1e-4
    assert transforms.parts_of("none+jpeg40") == ("none", "jpeg40")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jpg40", "no transform of images is called 'jpg40'"),
        ("jpeg0", "quality must lie in"),
        ("fog", "fog with its severity"),
        ("fog@x", "fog with its severity"),
        ("fog@6", "severity of 1..5"),
        ("none+jpeg40", "no transform"),
        ("patch0-0.1", "at least 1 pixel and a deviation"),
        ("patch9-1.5", "at least 1 pixel and a deviation"),
        ("augmix3", "no transform"),
    ],
)
def test_a_name_that_is_no_transform_is_said(name, message):
    with pytest.raises(InputError, match=message) as caught:
        transforms.check_transform(name)
    assert "\nHint: " in str(caught.value)
    with pytest.raises(InputError, match="different names"):
        transforms.parts_of("none+none")
    with pytest.raises(InputError, match="more than 4 pixels for blur9"):
        GaussianBlur(9)(torch.zeros(1, 1, 4, 4))


def test_patch_gaussian_is_its_definition(images):
    """Beside a loop over pixels: noise in the square, nothing outside it, levels rounded."""
    side, sigma = 9, 0.2
    made = transforms.transformed(images, f"patch{side}-{sigma}", generators=draws(len(images)))
    for image, after, generator in zip(images, made, draws(len(images)), strict=True):
        height, width = image.shape[1:]
        row = int(torch.randint(height, (), generator=generator))
        column = int(torch.randint(width, (), generator=generator))
        rows = [y for y in range(row - side // 2, row - side // 2 + side) if 0 <= y < height]
        columns = [
            x for x in range(column - side // 2, column - side // 2 + side) if 0 <= x < width
        ]
        noise = torch.randn((len(image), len(rows), len(columns)), generator=generator)
        expected = image.float()
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                expected[:, y, x] += 255 * sigma * noise[:, i, j]
        assert torch.equal(after, expected.round().clamp(0, 255).to(torch.uint8))
    assert (made != images).any()


def test_augmix_depends_on_each_images_generator_alone(images):
    before = torch.get_rng_state()
    whole = transforms.transformed(images, "augmix", generators=draws(len(images)))
    assert torch.equal(torch.get_rng_state(), before)
    one = transforms.transformed(images[1:2], "augmix", generators=draws(len(images))[1:2])
    assert torch.equal(whole[1:2], one)
    assert whole.dtype == torch.uint8
    assert (whole != images).flatten(1).any(1).all()
    gray = transforms.transformed(images[:, :1], "augmix", generators=draws(len(images)))
    assert gray.shape == images[:, :1].shape
