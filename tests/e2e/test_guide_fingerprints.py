"""The program in docs/guides/fingerprints.md runs, and finds what the file itself finds."""

import asyncio
import io
import re
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageOps

import copyhound
from service.app import Running

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/fingerprints.md"


@pytest.fixture
def program(service: Running) -> str:
    """The guide's program, with this service's address in place of its own."""
    (text,) = re.findall(r"^```python\n(.+?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert "localhost:50051" in text
    return str(text).replace("localhost:50051", f"127.0.0.1:{service.port}")


async def test_the_guides_program_finds_a_mirrored_copy(
    service: Running, program: str, photographs: dict[str, bytes], tmp_path: Path
) -> None:
    copy = ImageOps.mirror(Image.open(io.BytesIO(photographs["rocket"])).convert("RGB"))
    suspect = tmp_path / "suspect.jpg"
    copy.save(suspect, quality=60)
    async with copyhound.AsyncClient(f"127.0.0.1:{service.port}") as client:
        await client.register(photographs["rocket"], owner="studio", title="Rocket")
        by_file = await client.match(suspect)
    (tmp_path / "ask.py").write_text(program)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "ask.py"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    (match,) = by_file.matches
    assert process.returncode == 0
    action, title, probability, transform = output.decode().split()
    assert (action, title, transform) == ("block", "Rocket", "flip_horizontal")
    assert float(probability) >= match.probability  # all stages were sent, the file was sure after one
