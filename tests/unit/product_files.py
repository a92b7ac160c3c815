"""Small synthetic products in the published layout of each agency, with numbers that a test can foretell.

Each shows random numbers, or a `ground`: a function of wavelengths in nm and a pixel in metres that gives reflectance,
(bands, rows, columns); `tests.unit.landscape` has one.
"""

import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import rasterio

CRS = "EPSG:32633"
ROWS, COLUMNS = 6, 8
#: Left and top of every grid, and its pixel, in metres.
LEFT, TOP, PIXEL_M = 500_000.0, 5_800_000.0, 30.0

Ground = Callable[[Sequence[float], float], np.ndarray]


def cube(bands: int, seed: int = 0, least: int = 500, most: int = 9000) -> np.ndarray:
    """(bands, ROWS, COLUMNS) of numbers that integer products store."""
    return np.random.default_rng(seed).integers(least, most, (bands, ROWS, COLUMNS))


def shown(
    ground: Ground | None, centres: Sequence[float], pixel_m: float = PIXEL_M, seed: int = 0, **limits: int
) -> np.ndarray:
    """The ground's reflectance in steps of 1e-4; without a ground, numbers as of `cube`."""
    if ground is None:
        return cube(len(centres), seed, **limits)
    return np.rint(1e4 * ground(centres, pixel_m)).astype(int)


def tiff(path: Path, planes: np.ndarray, pixel_m: float = PIXEL_M, driver: str = "GTiff", **profile) -> Path:
    """A georeferenced raster; JPEG 2000 without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if driver == "JP2OpenJPEG":
        profile |= {"QUALITY": "100", "REVERSIBLE": "YES"}
    with rasterio.open(
        path, "w", driver=driver, count=len(planes), height=planes.shape[1], width=planes.shape[2],
        dtype=planes.dtype.name, crs=CRS, transform=rasterio.Affine(pixel_m, 0, LEFT, 0, -pixel_m, TOP), **profile,
    ) as image:  # fmt: skip
        image.write(planes)
    return path


def zipped(folder: Path, archive: Path) -> Path:
    """A zip archive of a folder, which lies in it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                content.write(file, f"{folder.name}/{file.relative_to(folder)}")
    return archive


def tarred(folder: Path, archive: Path, prefix: str = "") -> Path:
    """A tar archive of the files of a folder, as the USGS delivers Landsat. prefix: of the names in it."""
    with tarfile.open(archive, "w") as content:
        for file in sorted(folder.iterdir()):
            content.add(file, f"{prefix}{file.name}")
    return archive


def prisma(
    path: Path,
    level: str = "L2D",
    corners: str = "middles",
    swir_most: float = 1.0,
    errors: tuple = (),
    pan: bool = True,
    ground: Ground | None = None,
    vnir_nm: Sequence[float] = (970, 950, 700, 450, 0),
    swir_nm: Sequence[float] = (2300, 1600, 1000, 960, 940),
) -> dict[str, np.ndarray]:
    """PRISMA: VNIR of 4 bands and one unused, SWIR of 5, two of each in the overlap. Returns the stored cubes.

    corners: what the corners' coordinates are, `middles` of pixels or `outer` ones. errors: (cube, number, band, row,
    column), as they lie in the file, of the error matrices.
    """
    vnir, swir = shown(ground, vnir_nm, seed=1), shown(ground, swir_nm, seed=2)
    if ground is None:
        sharp = np.random.default_rng(3).integers(1, 65535, (6 * ROWS, 6 * COLUMNS))
    else:
        vnir, swir, sharp = (
            np.rint(65535 * part).astype(int)
            for part in (ground(vnir_nm, 30), ground(swir_nm, 30), ground(np.arange(400, 701, 50), 5).mean(axis=0))
        )
    vnir[:, 0, 0] = swir[:, 0, 0] = 0
    rows, columns = vnir.shape[1:]
    swath = f"HDFEOS/SWATHS/PRS_{level}"
    matrices = {
        name: np.zeros((rows, len(planes), columns), np.uint8) for name, planes in (("VNIR", vnir), ("SWIR", swir))
    }
    for name, number, band, row, column in errors:
        matrices[name][row, band, column] = number
    with h5py.File(path, "w") as file:
        for name, planes in (("VNIR", vnir), ("SWIR", swir)):
            file[f"{swath}_HCO/Data Fields/{name}_Cube"] = planes.transpose(1, 0, 2).astype(np.uint16)
            file[f"{swath}_HCO/Data Fields/{name}_PIXEL_L2_ERR_MATRIX"] = matrices[name]
        latitude, longitude = np.meshgrid(np.linspace(52, 51.9, rows), np.linspace(13, 13.2, columns), indexing="ij")
        for part, finer in (("HCO", 1), ("PCO", 6)):
            for name, plane in (("Latitude", latitude + (longitude - 13) ** 2), ("Longitude", longitude)):
                place = f"{swath}_{part}/Geolocation Fields/{name}"
                file[place] = plane.repeat(finer, 0).repeat(finer, 1).astype(np.float32)
        if pan:
            file[f"{swath}_PCO/Data Fields/Cube"] = sharp.astype(np.uint16)
            file[f"{swath}_PCO/Data Fields/PIXEL_L2_ERR_MATRIX"] = np.zeros(sharp.shape, np.uint8)
        else:
            del file[f"{swath}_PCO"]
        for name, centres in (("Vnir", vnir_nm), ("Swir", swir_nm)):
            file.attrs[f"List_Cw_{name}"] = np.array(centres, np.float32)
            file.attrs[f"List_Fwhm_{name}"] = np.linspace(10, 14, len(centres)).astype(np.float32)
            file.attrs[f"List_Cw_{name}_Flags"] = (file.attrs[f"List_Cw_{name}"] > 0).astype(np.int64)
        for name, most in (("Vnir", 1.0), ("Swir", swir_most), ("Pan", 1.0)):
            file.attrs[f"L2Scale{name}Min"], file.attrs[f"L2Scale{name}Max"] = np.float32(0), np.float32(most)
        inset = PIXEL_M / 2 if corners == "middles" else 0.0
        file.attrs["Product_ULcorner_easting"], file.attrs["Product_ULcorner_northing"] = LEFT + inset, TOP - inset
        file.attrs["Product_LRcorner_easting"] = LEFT + columns * PIXEL_M - inset
        file.attrs["Product_LRcorner_northing"] = TOP - rows * PIXEL_M + inset
        file.attrs["Epsg_Code"] = np.int64(32633)
        file.attrs["Product_StartTime"] = np.bytes_("2023-08-24T10:03:56.000")
    return {"VNIR": vnir, "SWIR": swir, "PAN": sharp}


def enmap(
    folder: Path,
    level: str = "L2A",
    gains: Sequence[float] | None = None,
    described: int | None = None,
    ground: Ground | None = None,
    centres: Sequence[float] = (450.0, 905.0, 902.0, 2400.0),
    expected: tuple[str, str] = ("1,2", "3"),
) -> tuple[Path, np.ndarray]:
    """EnMAP: 4 bands, the middle two out of order as in the overlap. Returns the folder and the stored cube."""
    name = f"ENMAP01-____{level}-DT0000001867_20220724T104526Z_008_V010302_20230628T165614Z"
    stored = shown(ground, centres).astype(np.int16)
    stored[:, -1, -1] = -32768
    gains = gains or (1e-4,) * len(centres)
    tiff(folder / name / f"{name}-SPECTRAL_IMAGE.TIF", stored, nodata=-32768)
    bands = "".join(
        f'<bandID number="{k + 1}"><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>8.5</FWHMOfBand><GainOfBand>{gain}</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"
        for k, (centre, gain) in enumerate(list(zip(centres, gains, strict=True))[:described])
    )
    quality = "".join(
        f"<{detector}ProductQuality><expectedChannelsList>{numbers}</expectedChannelsList></{detector}ProductQuality>"
        for detector, numbers in zip(("vnir", "swir"), expected, strict=True)
    )
    (folder / name / f"{name}-METADATA.XML").write_text(
        "<?xml version='1.0' encoding='UTF-8'?><level_X xmlns='urn:x'><base><temporalCoverage>"
        "<startTime>2022-07-24T10:45:26.123Z</startTime></temporalCoverage></base>"
        f"<specific><bandCharacterisation>{bands}</bandCharacterisation>{quality}</specific></level_X>"
    )
    return folder / name, stored


def desis(folder: Path, ground: Ground | None = None) -> tuple[Path, np.ndarray]:
    """DESIS: 3 bands with their description in XML, and a layer for each class. Returns the folder, the stored cube."""
    name = "DESIS-HSI-L2A-DT1203190212_025-20191203T021128-V0210"
    stored = shown(ground, (500, 600, 700)).astype(np.int16)
    tiff(folder / f"{name}-SPECTRAL_IMAGE.tif", stored, nodata=-32768)
    layers = np.zeros((10, *stored.shape[1:]), np.uint8)
    layers[0, 0, 1] = layers[5, 0, 2] = layers[6, 0, 3] = layers[1, 1, 1] = 1
    tiff(folder / f"{name}-QL_QUALITY-2.tif", layers)
    bands = "".join(
        f"<band><bandNumber>{k}</bandNumber><wavelengthCenterOfBand>{500 + 100 * k}</wavelengthCenterOfBand>"
        "<wavelengthWidthOfBand>3.5</wavelengthWidthOfBand><gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand>"
        "</band>"
        for k in range(3)
    )
    (folder / f"{name}-METADATA.xml").write_text(
        "<hsi_doc><base><startTime>2019-12-03T02:11:28Z</startTime></base><specific><bandCharacterisation>"
        f"{bands}</bandCharacterisation><interiorOrientation><band/></interiorOrientation></specific></hsi_doc>"
    )
    return folder, stored


def emit(folder: Path, ground: Ground | None = None, corner: tuple = (13.5, 52.3)) -> tuple[Path, np.ndarray]:
    """EMIT: 3 bands, a lookup table that mirrors the columns and leaves out the first row; flags in a file beside.

    ground: what its grid shows. corner: longitude and latitude of the grid's left and top.
    """
    values = shown(ground, (400, 1400, 2400), 60.0).astype(np.float32) / 10_000
    if ground is not None:
        values = values[:, :, ::-1].copy()
    values[:, 2, 3] = -9999
    path = folder / "EMIT_L2A_RFL_001_20220815T042838_2222703_003.nc"
    with h5py.File(path, "w") as file:
        file.create_dataset("reflectance", data=values.transpose(1, 2, 0), chunks=(3, 4, 3), compression="gzip")
        file["reflectance"].attrs["_FillValue"] = np.array([-9999], np.float32)
        for name, numbers in (("wavelengths", (400, 1400, 2400)), ("fwhm", (8, 9, 9)), ("good_wavelengths", (1, 0, 1))):
            file[f"sensor_band_parameters/{name}"] = np.array(numbers, np.float32)
        rows, columns = np.mgrid[1 : values.shape[1] + 1, values.shape[2] : 0 : -1]
        columns[0] = rows[0] = 0
        file["location/glt_x"], file["location/glt_y"] = columns.astype(np.int32), rows.astype(np.int32)
        file.attrs["geotransform"] = np.array([corner[0], 0.0005, 0.0, corner[1], 0.0, -0.0005])
        file.attrs["spatial_ref"], file.attrs["time_coverage_start"] = "EPSG:4326", "2022-08-15T04:28:38+0000"
    names = ["Cloud flag", "Cirrus flag", "Water flag", "Spacecraft Flag", "Dilated Cloud Flag", "AOD550"]
    flags = np.zeros((*values.shape[1:], len(names)), np.float32)
    flags[4, 5, 0] = flags[4, 6, 4] = flags[4, 7, 2] = 1
    flags[..., 5] = 0.2
    with h5py.File(folder / path.name.replace("_RFL_", "_MASK_"), "w") as file:
        file["mask"] = flags
        file["sensor_band_parameters/mask_bands"] = np.array(names, dtype=h5py.string_dtype())
    return path, values


def sentinel2(
    folder: Path, level: str = "2A", offsets: bool = True, ground: Ground | None = None
) -> tuple[Path, dict[str, np.ndarray]]:
    """Sentinel-2: bands of 10 and 20 m, and where clouds are. Returns the folder and the stored bands.

    Each band has an offset of its own, so that a test sees which is applied; with a ground, all have the real one.
    """
    name = f"S2B_MSIL{level}_20220722T102559_N0400_R108_T33UUU_20220722T120000"
    safe = folder / f"{name}.SAFE"
    images = safe / "GRANULE" / f"L{level}_T33UUU_A020270_20220722T102559" / "IMG_DATA"
    stored: dict[str, np.ndarray] = {}
    columns = 32 if level == "2A" else 36  # pixels of 60 m fit in

    def place(what: str, pixel_m: int) -> Path:
        """Level 1C has one folder, and names without a resolution."""
        ending = f"{what}_{pixel_m}m.jp2" if level == "2A" else f"{what}.jp2"
        return images / (f"R{pixel_m}m" if level == "2A" else "") / f"T33UUU_20220722T102559_{ending}"

    for seed, (band, nm) in enumerate({"B02": 492, "B03": 560, "B04": 665, "B08": 833}.items()):
        stored[band] = np.random.default_rng(seed).integers(1100, 9000, (24, columns)).astype(np.uint16)
        if ground is not None:
            stored[band] = (1000 + shown(ground, (nm,), 10.0)[0]).astype(np.uint16)
        tiff(place(band, 10), stored[band][None], 10.0, "JP2OpenJPEG")
    for seed, (band, nm) in enumerate({"B05": 704, "B8A": 865, "B11": 1614}.items()):
        stored[band] = np.random.default_rng(9 + seed).integers(1100, 9000, (12, columns // 2)).astype(np.uint16)
        if ground is not None:
            stored[band] = (1000 + shown(ground, (nm,), 20.0)[0]).astype(np.uint16)
        tiff(place(band, 20), stored[band][None], 20.0, "JP2OpenJPEG")
    if level == "2A":
        classes = np.full(stored["B05"].shape, 4, np.uint8)
        classes[0, :6] = (3, 8, 9, 10, 0, 11)
        tiff(place("SCL", 20), classes[None], 20.0, "JP2OpenJPEG")
    else:
        layers = np.zeros((3, 4, 6), np.uint8)  # opaque clouds, cirrus, snow
        layers[range(3), 0, range(3)] = 1
        tiff(images.parent / "QI_DATA" / "MSK_CLASSI_B00.jp2", layers, 60.0, "JP2OpenJPEG")
    numbers = [-1000 - (k if ground is None else 0) for k in range(13)] if offsets else []
    quantification, offset = {
        "2A": ("BOA_QUANTIFICATION_VALUE", "BOA_ADD_OFFSET"), "1C": ("QUANTIFICATION_VALUE", "RADIO_ADD_OFFSET")
    }.get(level, ("", ""))  # fmt: skip
    listed = "".join(f'<{offset} band_id="{k}">{number}</{offset}>' for k, number in enumerate(numbers))
    (safe / f"MTD_MSIL{level}.xml").write_text(
        f'<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd"><n1:General_Info>'
        "<Product_Info><PRODUCT_START_TIME>2022-07-22T10:25:59.024Z</PRODUCT_START_TIME>"
        "<PROCESSING_BASELINE>04.00</PROCESSING_BASELINE></Product_Info><Product_Image_Characteristics>"
        f"<{quantification} unit='none'>10000</{quantification}><Offsets>{listed}</Offsets>"
        "<Spectral_Information_List><Spectral_Information bandId='1' physicalBand='B2'><Wavelength>"
        "<CENTRAL unit='nm'>492.1</CENTRAL></Wavelength></Spectral_Information></Spectral_Information_List>"
        f"</Product_Image_Characteristics></n1:General_Info></n1:Level-{level}_User_Product>"
    )
    return safe, stored


def landsat(folder: Path, ground: Ground | None = None) -> tuple[Path, np.ndarray]:
    """Landsat 8: bands 1 to 4, temperature and quality, with both groups of scales. Returns the folder, the bands."""
    name = "LC08_L2SP_193023_20220724_20220802_02_T1"
    stored = shown(ground, (443, 482, 561, 655), most=40_000).astype(np.uint16)
    if ground is not None:
        stored = np.rint((stored * 1e-4 + 0.2) / 2.75e-5).astype(np.uint16)
    for band, plane in enumerate(stored, 1):
        tiff(folder / name / f"{name}_SR_B{band}.TIF", plane[None], nodata=0)
    tiff(folder / name / f"{name}_ST_B10.TIF", stored[:1], nodata=0)
    quality = np.full(stored.shape[1:], 21824, np.uint16)
    quality[0, :4] = (1, 22280, 23888, 54596)  # fill, cloud, cloud shadow, cirrus
    tiff(folder / name / f"{name}_QA_PIXEL.TIF", quality[None], nodata=1)
    lines = ["GROUP = LANDSAT_METADATA_FILE", "GROUP = IMAGE_ATTRIBUTES", "DATE_ACQUIRED = 2022-07-24",
             'SCENE_CENTER_TIME = "10:03:12.3Z"', "END_GROUP = IMAGE_ATTRIBUTES"]  # fmt: skip
    for group, scale, offset in (("LEVEL1_RADIOMETRIC_RESCALING", 2e-5, -0.1),
                                 ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", 2.75e-5, -0.2)):  # fmt: skip
        lines.append(f"GROUP = {group}")
        for band in range(1, 8):
            lines += [f"REFLECTANCE_MULT_BAND_{band} = {scale}", f"REFLECTANCE_ADD_BAND_{band} = {offset}"]
        lines.append(f"END_GROUP = {group}")
    (folder / name / f"{name}_MTL.txt").write_text("\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END"]))
    return folder / name, stored


def hyperion(folder: Path, ground: Ground | None = None) -> tuple[Path, dict[int, np.ndarray]]:
    """Hyperion: five bands of both spectrometers, one not calibrated. Returns the folder and the stored bands."""
    name = "EO1H1400432009124110PY"
    centres = {20: 549, 57: 925, 70: 1058, 80: 943, 200: 2153}
    stored = {band: shown(ground, (nm,), seed=band)[0].astype(np.int16) for band, nm in centres.items()}
    for band, plane in stored.items():
        tiff(folder / f"{name}_1T" / f"{name}_B{band:03d}_L1T.TIF", plane[None])
    (folder / f"{name}_1T" / f"{name}_MTL_L1T.TXT").write_text(
        "GROUP = L1_METADATA_FILE\n  GROUP = PRODUCT_METADATA\n    ACQUISITION_DATE = 2009-05-04\n"
        "    START_TIME = 2009 124 10:03:56\n  END_GROUP = X\n"
        "  GROUP = RADIANCE_SCALING\n    SCALING_FACTOR_VNIR = 40.000000\n    SCALING_FACTOR_SWIR = 80.000000\nEND\n"
    )
    return folder / f"{name}_1T", stored


def aviris(path: Path, ground: Ground | None = None) -> np.ndarray:
    """AVIRIS-3: 3 bands on a grid. Returns the values."""
    values = shown(ground, (400, 1400, 2400), 3.0).astype(np.float32) / 10_000
    values[:, 0, 0] = -9999
    with h5py.File(path, "w") as file:
        file["reflectance/reflectance"] = values
        file["reflectance/reflectance"].attrs["_FillValue"] = np.float32(-9999)
        file["reflectance/wavelength"], file["reflectance/fwhm"] = np.array([400.0, 1400, 2400]), np.array([7.0, 8, 9])
        file["transverse_mercator"] = np.bytes_("")
        grid = file["transverse_mercator"].attrs
        grid["crs_wkt"], grid["GeoTransform"] = rasterio.CRS.from_string(CRS).to_wkt(), f"{LEFT} 3 0 {TOP} 0 -3"
    return values


def neon(path: Path, ground: Ground | None = None) -> np.ndarray:
    """NEON: 4 bands on a grid of 1 m, one in a window where the air absorbs. Returns the stored cube."""
    stored = shown(ground, (500, 800, 1400, 2200), 1.0).astype(np.int16)
    stored[:, 1, 1] = -9999
    with h5py.File(path, "w") as file:
        data = file.create_dataset("ABBY/Reflectance/Reflectance_Data", data=stored.transpose(1, 2, 0))
        data.attrs["Scale_Factor"], data.attrs["Data_Ignore_Value"] = 10_000.0, -9999.0
        file["ABBY/Reflectance"].attrs["Band_Window_1_Nanometers"] = np.array([1340, 1445])
        metadata = file.create_group("ABBY/Reflectance/Metadata")
        metadata["Spectral_Data/Wavelength"] = np.array([500.0, 800, 1400, 2200])
        metadata["Spectral_Data/FWHM"] = np.full(4, 5.8)
        metadata["Coordinate_System/Map_Info"] = (
            f"UTM,  1.000,  1.000,  {LEFT:.2f},  {TOP:.2f},  1.0,  1.0,  33,  North,  WGS-84,  units=Meters, 0"
        )
        metadata["Coordinate_System/EPSG Code"] = "32633"
    return stored


def tanager(
    path: Path, kind: str = "GRIDS", cube_name: str = "surface_reflectance", ground: Ground | None = None
) -> np.ndarray:
    """Tanager: 3 bands, on a grid (GRIDS) or of the sensor (SWATHS). Returns the values."""
    values = shown(ground, (400, 1400, 2400)).astype(np.float32) / 10_000
    rows, columns = values.shape[1:]
    masks = {name: np.zeros((rows, columns), np.uint32) for name in ("nodata_pixels", "beta_cloud_mask")}
    masks["nodata_pixels"][0, 0] = masks["beta_cloud_mask"][0, 1] = 1
    with h5py.File(path, "w") as file:
        group = file.create_group(f"HDFEOS/{kind}/HYP")
        for name, plane in masks.items():
            group[f"Data Fields/{name}"] = plane
        data = group.create_dataset(f"Data Fields/{cube_name}", data=values)
        data.attrs["wavelengths"], data.attrs["fwhm"] = np.array([400.0, 1400, 2400]), np.full(3, 5.5)
        data.attrs["good_wavelengths"], data.attrs["_FillValue"] = np.array([1, 0, 1]), np.float32(-9999)
        group.attrs["epsg_code"] = 32633
        latitude, longitude = np.meshgrid(np.linspace(52, 51.9, rows), np.linspace(13, 13.2, columns), indexing="ij")
        if kind == "SWATHS":
            group["Geolocation Fields/Latitude"], group["Geolocation Fields/Longitude"] = latitude, longitude
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(
            f"GROUP=GridStructure\n\tXDim={columns}\n\tYDim={rows}\n\tUpperLeftPointMtrs=({LEFT:.2f},{TOP:.2f})\n"
            f"\tLowerRightMtrs=({LEFT + columns * PIXEL_M:.2f},{TOP - rows * PIXEL_M:.2f})\nEND\n"
        )
    return values


def planet(folder: Path, ground: Ground | None = None) -> tuple[Path, np.ndarray]:
    """PlanetScope: 8 bands and their mask. Returns the image and the stored cube."""
    stored = shown(ground, (443, 490, 531, 565, 610, 665, 705, 865), 3.0).astype(np.uint16)
    path = tiff(folder / "20230801_101530_12_2430_3B_AnalyticMS_SR_8b_harmonized_clip.tif", stored, 3.0, nodata=0)
    usable = np.zeros((8, *stored.shape[1:]), np.uint8)
    usable[0] = 1
    usable[2, 0, 0] = usable[5, 0, 1] = usable[7, 0, 2] = usable[3, 0, 3] = 1
    tiff(folder / "20230801_101530_12_2430_3B_udm2_clip.tif", usable, 3.0)
    return path, stored


def stac(folder: Path, href: str = "lr.tif") -> Path:
    """A STAC item with an LR image, two bands of a guide, and what neither image says."""
    tiff(folder / "lr.tif", cube(3).astype(np.uint16))
    for band in ("B02", "B03"):
        tiff(folder / f"{band}.tif", np.full((1, 2 * ROWS, 2 * COLUMNS), int(band[1:]), np.uint16), PIXEL_M / 2)
    bands = [{"eo:center_wavelength": centre, "raster:scale": 1e-4, "nodata": 0} for centre in (0.45, 0.65, 0.85)]
    item = {
        "type": "Feature", "stac_version": "1.1.0", "properties": {"datetime": "2023-08-24T10:03:56Z"},
        "assets": {
            "cube": {"href": href, "roles": ["data", "lr"], "bands": bands},
            "blue": {"href": "B02.tif", "roles": ["data", "guide"]},
            "green": {"href": "./B03.tif", "roles": ["data", "guide"]},
            "far": {"href": "https://example.com/far.tif", "roles": ["overview"]},
        },
    }  # fmt: skip
    (folder / "item.json").write_text(json.dumps(item))
    return folder / "item.json"
