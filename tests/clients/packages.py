"""Zip files that are broken or hostile, through CreateFunction."""

import io
import os
import stat
import struct
import zipfile

import kit
from kit import fails

fn = kit.client("lambda")
ROLE = kit.role()
CORRUPT = "Could not unzip uploaded file. Please check your file, then try to upload again."


def create(code, **options):
    return fn.create_function(
        FunctionName=kit.name(), Runtime=kit.PYTHON, Role=ROLE, Handler="index.handler", Code={"ZipFile": code}, **options
    )


def refused(code, message=CORRUPT):
    fails("InvalidParameterValueException", message, create, code, status=400)
    assert os.path.exists(os.environ["SQUALL_TEST_DATA"])


def with_entry(name, data=b"x", mode=0o100644, source="def handler(e, c): return 1\n"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        info.external_attr = mode << 16
        z.writestr(info, data)
        z.writestr("index.py", source)
    return out.getvalue()


def test_no_zips():
    good = kit.zipped("def handler(e, c): return 1\n")
    for code in [b"x", b"PK\x03\x04", good[:-5], good[: len(good) // 2], b"\0" * 1000, os.urandom(5000), good[:60] + b"\xff" * 20 + good[80:]]:
        refused(code)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    fails("InvalidParameterValueException", "Uploaded file must be a non-empty zip", create, empty.getvalue())
    fails("InvalidParameterValueException", None, create, b"")


def test_names_that_lead_out():
    for name in ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "a/..", "..", "C:\\evil", "a\0b"]:
        fails("InvalidParameterValueException", None, create, with_entry(name), status=400)
    for root, _, files in os.walk(os.environ["SQUALL_TEST_SCRATCH"]):
        assert not any("evil" in f for f in files), root


def test_links_and_devices():
    """A link may stay inside of the package; one that leads out gives nothing of the host's."""
    look = "import os, stat\ndef handler(e, c): return stat.filemode(os.lstat('dev').st_mode)\n"
    for mode in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
        try:
            name = create(with_entry("dev", b"", mode | 0o666, look))["FunctionName"]
        except kit.ClientError as e:
            kit.equal(e.response["Error"]["Code"], "InvalidParameterValueException")
            continue
        fn.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        kit.matches(kit.invoke(name)[0], "-.*", "an ordinary file at most")
    for target in [b"/etc/passwd", b"../../../etc/passwd", b"/", b"x" * 5000]:
        try:
            create(with_entry("link", target, stat.S_IFLNK | 0o777))
        except kit.ClientError as e:
            kit.equal(e.response["Error"]["Code"], "InvalidParameterValueException")


def test_bombs():
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as z:
        with z.open("zeros", "w", force_zip64=True) as f:
            for _ in range(300):
                f.write(b"\0" * (1 << 20))
    refused(zeros.getvalue(), "Unzipped size must be smaller than 262144000 bytes")
    lying = bytearray(zeros.getvalue())
    at = lying.rfind(b"PK\x01\x02")
    struct.pack_into("<I", lying, at + 24, 100)
    fails("InvalidParameterValueException", None, create, bytes(lying))
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as z:
        for i in range(70_000):
            z.writestr(f"f{i}", b"")
    try:
        create(many.getvalue())
    except kit.ClientError as e:
        kit.equal(e.response["Error"]["Code"], "InvalidParameterValueException")


def test_mutated_zips():
    """Bytes changed, cut out and repeated at random (the same in every run): taken or refused, never a failure."""
    import random

    rng = random.Random(7)
    good = kit.zipped({"index.py": "def handler(e, c): return 1\n" * 20, "a/b.txt": "x" * 300, "c": ""})
    taken = 0
    for _ in range(300):
        code = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(code))
            match rng.randrange(4):
                case 0:
                    code[at] = rng.randrange(256)
                case 1:
                    code[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"PK\x01\x02", b"\x7f" * 4])
                case 2:
                    del code[at : at + rng.randint(1, 30)]
                case 3:
                    code[at:at] = code[at : at + rng.randint(1, 30)]
        try:
            create(bytes(code))
            taken += 1
        except kit.ClientError as e:
            kit.equal(e.response["Error"]["Code"], "InvalidParameterValueException", bytes(code).hex())
    assert 0 < taken < 300, taken


def test_two_of_a_name():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for text in ("def handler(e, c): return 1\n", "def handler(e, c): return 2\n"):
            z.writestr("index.py", text)
    try:
        create(out.getvalue())
    except kit.ClientError as e:
        kit.equal(e.response["Error"]["Code"], "InvalidParameterValueException")


def test_afterwards_good_ones_work():
    kit.equal(kit.invoke(kit.function("def handler(e, c): return 1\n"))[0], 1)


kit.main(globals())
