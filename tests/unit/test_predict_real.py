"""Real scenes: EnMAP tiles mosaicked to one GeoTIFF with holes, WorldView-2 out of a MATLAB file."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.merge import merge

from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.inference import Options, super_resolve_file

BANDS = tuple(range(125, 145))  # with the six that hold no data


@pytest.fixture
def mosaic(extra_data, tmp_path):
    tiles = sorted((extra_data / "data" / "enmap_potsdam").glob("*.tif"))
    pixels, transform = merge(tiles)
    facts = read_scene(tiles[0])
    export(replace(facts, stored=pixels, transform=tuple(transform)[:6], mask=None), tmp_path / "mosaic.tif")
    return tmp_path / "mosaic.tif"


def test_enmap_keeps_everything_but_its_size(mosaic, tmp_path):
    options = Options(device="cpu", scale=3, tile=64, bands=BANDS)
    out = super_resolve_file(mosaic, None, "bicubic", tmp_path / "sr.tif", options)
    with rasterio.open(mosaic) as low, rasterio.open(out) as sharp:
        assert sharp.shape == (3 * low.height, 3 * low.width) and sharp.crs == low.crs and low.crs.to_epsg() == 32633
        assert tuple(sharp.transform)[:6] == (10.0, 0.0, low.transform.c, 0.0, -10.0, low.transform.f)
        assert sharp.bounds == low.bounds and sharp.nodata == low.nodata == -32768
        assert set(sharp.dtypes) == set(low.dtypes) and sharp.scales[0] == low.scales[0] == 1e-4
        before, after = low.read([band + 1 for band in BANDS]), sharp.read()
    scene, whole = read_scene(out), read_scene(mosaic)
    np.testing.assert_allclose(scene.wavelengths_nm, whole.wavelengths_nm[list(BANDS)])
    np.testing.assert_array_equal(scene.bad_bands, whole.bad_bands[list(BANDS)])
    assert 0 < scene.bad_bands.sum() < len(BANDS)
    np.testing.assert_array_equal(scene.mask, whole.mask.repeat(3, axis=0).repeat(3, axis=1))
    good = ~scene.bad_bands
    centres = after[good][:, 1::3, 1::3]  # bicubic with an odd factor keeps the pixels that it has
    np.testing.assert_allclose(centres, before[good], atol=1)
    np.testing.assert_array_equal(after[~good], before[~good].repeat(3, axis=1).repeat(3, axis=2))


def test_worldview_out_of_one_matlab_file(extra_data, tmp_path):
    path = extra_data / "data" / "worldview2" / "imgWV2.mat"
    options = Options(device="cpu", bands=(1, 4), read={"variable": "I_MS"}, read_guide={"variable": "I_PAN"})
    out = super_resolve_file(path, path, "gsa", tmp_path / "sr.tif", options)
    result, truth = read_scene(out).cube, read_scene(path, variable="I_PAN").cube
    assert result.shape == (2, 1280, 1280)
    assert all(np.corrcoef(band.ravel(), truth.ravel())[0, 1] > 0.7 for band in result)
