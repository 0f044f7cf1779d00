"""A table of photos is read by what its columns hold; what is wrong in it is named with its line."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ftcourse.data import entries, tables
from ftcourse.data.audit import audit
from ftcourse.data.loading import load_data
from ftcourse.data.sources import find


def photos(folder: Path, names: list[str]) -> Path:
    """Photos of noise, no two alike."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def write(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


NAMES = [f"p{i:02d}.png" for i in range(12)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return photos(tmp_path, [f"images/{name}" for name in NAMES])


def rows(line=lambda name, i: f"{name},{'ab'[i % 2]}") -> list[str]:
    return [line(name, i) for i, name in enumerate(NAMES)]


def labels_of(source, **kwargs) -> dict[str, str]:
    found = find(source, **kwargs)
    assert not found.faults and not found.problems, found.faults + found.problems
    return {photo.path.name: photo.label for photo in found.photos}


EXPECTED = {name: "ab"[i % 2] for i, name in enumerate(NAMES)}


def fault(source, **kwargs) -> str:
    """The one fault; `load_data` refuses with it, and the audit has it."""
    found = find(source, **kwargs)
    assert len(found.faults) == 1, found.faults
    with pytest.raises(ValueError) as err:
        load_data(source, size=16, **kwargs)
    assert str(err.value) == found.faults[0]
    return found.faults[0]


# --- which column is what -------------------------------------------------------------------------

WAYS = {
    "names in a sub-folder": ("file,label", lambda n, i: f"{n},{'ab'[i % 2]}"),
    "ids without a suffix, as Kaggle's": ("image_id,dx", lambda n, i: f"{n[:-4]},{'ab'[i % 2]}"),
    "paths below the table": ("path,class", lambda n, i: f"images/{n},{'ab'[i % 2]}"),
    "paths of another machine": ("path,y", lambda n, i: f"/kaggle/input/images/{n},{'ab'[i % 2]}"),
    "paths of Windows": ("path,y", lambda n, i: f".\\images\\{n},{'ab'[i % 2]}"),
    "told by its cells": ("what,where", lambda n, i: f"{'ab'[i % 2]},{n}"),
    "an index besides": ("id,image,label", lambda n, i: f"{i},{n},{'ab'[i % 2]}"),
    "semicolons": ("file;label", lambda n, i: f"{n};{'ab'[i % 2]}"),
    "quotes": ("file,label", lambda n, i: f'"{n}"," {"ab"[i % 2]} "'),
    "one 1 in each row": ("file,a,b", lambda n, i: f"{n},{1 - i % 2},{i % 2}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_files_and_labels_are_found_however_the_table_names_them(images, way):
    header, line = WAYS[way]
    assert labels_of(write(images / "train.csv", header, *rows(line))) == EXPECTED


def test_tabs_separate_a_tsv_and_a_mark_at_its_beginning_is_no_part_of_a_name(images):
    file = write(images / "t.tsv", "\ufefffile\tlabel", *rows(lambda n, i: f"{n}\t{'ab'[i % 2]}"))
    assert labels_of(file, columns={"file": "file", "label": "label"}) == EXPECTED


def test_columns_can_be_said_as_a_dict_or_in_one_line(images):
    lines = rows(lambda n, i: f"{n},{'ab'[i % 2]},{i % 3}")
    file = write(images / "t.csv", "file,first,second", *lines)
    with pytest.raises(
        ValueError, match=r"which column is the label\? It has 'file', 'first', 'second'"
    ):
        find(file)
    assert labels_of(file, columns={"label": "first"}) == EXPECTED
    assert labels_of(file, columns="file=file,label=first") == EXPECTED


AMBIGUOUS = {
    "label, 'label' or 'class'": ("file,label,class", "{0},a,b"),
    "file, 'file' or 'image'": ("file,image,label", "{0},{0},a"),
    "group, 'patient' or 'camera'": ("file,label,patient,camera", "{0},a,b,c"),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_of_two_columns_of_one_kind_none_is_guessed(images, what):
    header, line = AMBIGUOUS[what]
    with pytest.raises(ValueError, match=rf"which column is the {what}\? It has 'file', "):
        find(write(images / "t.csv", header, *map(line.format, NAMES)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": "kind"}, "no column 'kind' for label; it has 'file', 'label'"),
        ({"labels": "label"}, "'labels' is none of file, label, split, group"),
        ("label", "write it as file=NAME"),
    ],
)
def test_columns_that_are_not_there_are_told(images, columns, message):
    with pytest.raises(ValueError, match=message):
        find(write(images / "t.csv", "file,label", *rows()), columns=columns)


def test_a_first_line_that_names_a_photo_is_no_header(images):
    with pytest.raises(ValueError, match="its first line names a photo, so it is no header"):
        find(write(images / "t.csv", *rows()))


def test_a_table_without_a_column_of_photos_says_where_they_were_sought(images):
    file = write(images / "t.csv", "what,label", *rows(lambda n, i: f"x{i},{'ab'[i % 2]}"))
    with pytest.raises(
        ValueError, match=r"no column names photos that lie in .* or below it; it has 'what', "
    ):
        find(file)


# --- labels ---------------------------------------------------------------------------------------


def test_whole_numbers_are_classes_in_the_order_of_their_values(images):
    assert find(write(images / "t.csv", "file,label", *rows(lambda n, i: f"{n},{i}"))).classes == [
        str(i) for i in range(12)
    ]
    lines = rows(lambda n, i: f"{n},{i % 3}.0")
    assert find(write(images / "t.csv", "file,label", *lines)).classes == ["0", "1", "2"]


def test_numbers_to_predict_are_told_from_classes(images):
    file = write(images / "t.csv", "file,label", *rows(lambda n, i: f"{n},{i / 4}"))
    assert "numbers to predict, such as 0.25, not classes" in fault(file).replace("0.0,", "0.25,")


SEVERAL = {
    "blanks": ["cat", "dog cat", "cat dog bird", "bird dog", "bird cat"],
    "bars": ["cat", "dog", "bird", "cat", "dog|cat"],
}


@pytest.mark.parametrize("way", SEVERAL)
def test_several_labels_of_one_photo_are_told_from_names_of_classes(images, way):
    words = SEVERAL[way]
    lines = rows(lambda n, i: f"{n},{words[i % len(words)]}")
    message = fault(write(images / "t.csv", "file,label", *lines))
    assert "several labels of one photo" in message and "one label" in message


@pytest.mark.parametrize(
    "words",
    [
        ["golden retriever", "german shepherd", "pug"],
        ["red apple", "green apple", "red pear", "green pear", "red fig", "green fig"],
        ["healthy", "early blight", "late blight", "black rot"],
    ],
)
def test_names_of_several_words_are_classes(images, words):
    lines = rows(lambda n, i: f"{n},{words[i % len(words)]}")
    assert find(write(images / "t.csv", "file,label", *lines)).faults == []


def test_columns_of_0_and_1_with_more_than_one_1_in_a_row_are_several_labels(images):
    file = write(images / "t.csv", "file,cat,dog", *rows(lambda n, i: f"{n},1,{i % 2}"))
    with pytest.raises(
        ValueError, match=r"line 3: the columns cat, dog are 0 or 1, as for several labels"
    ):
        find(file)


# --- what is wrong in a row -----------------------------------------------------------------------

WRONG = {
    "no label": (4, "p04.png,", r"t\.csv, line 6: the label is empty"),
    "no file": (4, ",a", r"t\.csv, line 6: 'file' names no file"),
    "twice": (
        4,
        "p01.png,b",
        r"t\.csv, line 6: images/p01\.png is there already, in .*t\.csv, line 3",
    ),
    "two labels": (
        4,
        "p01.png,a",
        r"line 6: images/p01\.png is 'a', but 'b' in .*line 3; .*one label",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_in_a_row_is_told_with_its_line(images, what):
    number, line, message = WRONG[what]
    lines = rows()
    lines[number] = line
    assert re.search(message, fault(write(images / "t.csv", "file,label", *lines)))


def test_a_photo_that_is_not_there_is_told_with_its_line_or_skipped(images):
    lines = [*rows(), "p99.png,a"]
    file = write(images / "t.csv", "file,label", *lines)
    with pytest.raises(
        ValueError, match=r"t\.csv, line 14: .*p99\.png: cannot be decoded \(no such file"
    ):
        load_data(file, size=16)
    data = load_data(file, size=16, on_error="skip")
    assert sum(data.counts.values()) == 12
    assert any("p99.png (no such file" in note for note in data.notes)
    assert not audit(file).ok


def test_a_table_none_of_whose_photos_is_there_says_where_they_were_sought(images):
    file = write(images / "t.csv", "file,label", *rows(lambda n, i: f"x{n},{'ab'[i % 2]}"))
    assert "line 2: no photo 'xp00.png' in" in fault(file)


def test_a_name_that_two_photos_have_is_no_photo(images):
    photos(images, ["more/p03.png"])
    message = fault(write(images / "t.csv", "file,label", *rows()))
    assert "line 5: p03.png may be" in message and "give the path below" in message


def test_a_folder_in_a_path_must_be_that_of_the_photo(images):
    """Not just any photo of that name."""
    lines = rows()
    lines[3] = "elsewhere/p03.png,b"
    with pytest.raises(
        ValueError, match=r"line 5: .*elsewhere.p03\.png: cannot be decoded \(no such file"
    ):
        load_data(write(images / "t.csv", "file,label", *lines), size=16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"file,label\np00.png,a,b\n", r"t\.csv, line 2: 3 fields, but the header has 2"),
        (b'file,label\n"p00.png,a\n', r"t\.csv, line \d+: unexpected end of data"),
        (b"file,file\np00.png,a\n", "two columns are called 'file'"),
        (b"file,label\np00.png,\xff\n", "is not in UTF-8"),
        (b"file,label\n", "has no rows"),
    ],
)
def test_a_file_that_is_no_table_is_told(images, text, message):
    (images / "t.csv").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        find(images / "t.csv")


def test_lines_are_those_of_the_file_also_after_a_cell_of_several_lines(images):
    lines = rows(lambda n, i: f'{n},{"ab"[i % 2]},"two\nlines"')
    lines[1] = "p01.png,,x"
    assert "t.csv, line 4:" in fault(
        write(images / "t.csv", "file,label,remark", *lines), columns={"label": "label"}
    )


def test_photos_of_a_kind_that_cannot_be_read_here_are_left_out_with_the_reason(
    images, monkeypatch
):
    monkeypatch.setattr(
        entries, "why_unreadable", lambda file: "HEIC needs" if file.suffix == ".heic" else None
    )
    found = find(write(images / "t.csv", "file,label", *rows(), "p.heic,a"))
    assert found.left_out == [("p.heic", "HEIC needs")] and len(found.photos) == 12


# --- splits and groups ----------------------------------------------------------------------------


def test_a_column_of_splits_is_honoured(images):
    words = ["train"] * 8 + ["valid"] * 2 + ["Test"] * 2
    file = write(
        images / "t.csv", "file,label,split", *rows(lambda n, i: f"{n},{'ab'[i % 2]},{words[i]}")
    )
    data = load_data(file, size=16)
    assert [p.name for p in data.test.paths] == NAMES[10:]
    assert [p.name for p in data.val.paths] == NAMES[8:10]


def test_a_column_of_train_and_val_keeps_val_as_the_test(images):
    file = write(
        images / "t.csv", "file,label,split",
        *rows(lambda n, i: f"{n},{'ab'[i % 2]},{'train' if i < 8 else 'val'}"),
    )  # fmt: skip
    data = load_data(file, size=16)
    assert [p.name for p in data.test.paths] == NAMES[8:]
    assert any("val is kept as the test split" in note for note in data.notes)


def test_a_split_of_another_name_is_told_with_its_line(images):
    words = ["train"] * 8 + ["val", "val", "test", "holiday"]
    file = write(
        images / "t.csv", "file,label,split", *rows(lambda n, i: f"{n},{'ab'[i % 2]},{words[i]}")
    )
    assert "line 13: the split 'holiday' is none of train, val, test" in fault(file)
    assert find(file, columns={"split": None, "label": "label"}).faults == []


def test_tests_without_labels_are_left_out_and_told(images):
    file = write(
        images / "t.csv", "file,label,split",
        *rows(lambda n, i: f"{n},{'ab'[i % 2]},train" if i < 10 else f"{n},,test"),
    )  # fmt: skip
    data = load_data(file, size=16)
    assert sum(data.counts.values()) == 10
    assert any("2 photos of test have no labels" in note for note in data.notes)


def test_photos_of_one_patient_stay_in_one_split(tmp_path):
    names = [f"{i}.png" for i in range(48)]
    photos(tmp_path, names)
    lines = [f"{name},{'ab'[i // 12 % 2]},{i % 12}" for i, name in enumerate(names)]
    file = write(tmp_path / "t.csv", "file,label,patient", *lines)
    data = load_data(file, size=16)
    patients = [{int(p.stem) % 12 for p in getattr(data, s).paths} for s in data.counts]
    assert not patients[0] & patients[1] and not patients[0] & patients[2]
    assert any("12 groups by column 'patient'" in note for note in data.notes)
    without = load_data(file, size=16, columns={"group": None, "label": "label"})
    assert {int(p.stem) % 12 for p in without.train.paths} == set(range(12))


def test_splits_are_drawn_as_from_class_folders_with_copies_on_one_side(tmp_path):
    names = [f"{c}/{i}.png" for c in "ab" for i in range(9)]
    photos(tmp_path / "d", names)
    for i in range(3):
        (tmp_path / "d" / "a" / f"copy{i}.png").write_bytes(
            (tmp_path / "d" / "a" / "4.png").read_bytes()
        )
        names.append(f"a/copy{i}.png")
    folders = load_data(tmp_path / "d", size=16)
    table = write(tmp_path / "d" / "t.csv", "file,label", *(f"{n},{n[0]}" for n in names))
    said = load_data(table, size=16)
    for split in ("train", "val", "test"):
        assert getattr(said, split).paths == getattr(folders, split).paths
    holding = [s for s in said.counts if any("copy" in p.name for p in getattr(said, s).paths)]
    assert len(holding) == 1


# --- a folder with a table in it ------------------------------------------------------------------


@pytest.mark.parametrize("flat", [True, False])
def test_a_folder_of_photos_with_a_table_is_read_by_it(tmp_path, flat):
    photos(tmp_path, NAMES if flat else [f"images/{n}" for n in NAMES])
    write(tmp_path / "train.csv", "file,label", *rows())
    assert labels_of(tmp_path) == EXPECTED
    assert "is read by its table train.csv" in find(tmp_path).notes[0]


def test_of_two_tables_none_is_chosen(images):
    for name in ("a.csv", "b.csv"):
        write(images / name, "file,label", *rows())
    assert "of its tables give the one with the labels" in find(images).problems[0]


@pytest.mark.parametrize(
    ("header", "line", "differs"),
    [
        ("file,label", lambda c, n: f"{c}/{n},{c}", False),
        (
            "file,label",
            lambda c, n: f"{c}/{n},{'xy'['ab'.index(c)]}",
            False,
        ),  # other names, same classes
        ("file,patient", lambda c, n: f"{c}/{n},{n}", False),
        ("file,label", lambda c, n: f"{c}/{n},{'xy'[int(n[1:3]) % 2]}", True),
    ],
)
def test_class_folders_are_read_unless_a_table_gives_other_classes(tmp_path, header, line, differs):
    photos(tmp_path, [f"{c}/{n}" for c in "ab" for n in NAMES])
    write(tmp_path / "t.csv", header, *(line(c, n) for c in "ab" for n in NAMES))
    found = find(tmp_path)
    assert found.classes == ["a", "b"]
    assert bool(found.problems) == differs
    assert any("t.csv is not read" in note for note in found.notes) != differs
    if differs:
        assert "its folders and its table t.csv give the photos other classes" in found.problems[0]
    assert find(tmp_path, layout="classes").problems == []


def test_a_table_says_nothing_where_folders_have_labels_and_something_else_is_wrong(tmp_path):
    photos(
        tmp_path, [f"train/{c}/{n}" for c in "ab" for n in NAMES] + ["val/c/x.png", "val/a/y.png"]
    )
    write(tmp_path / "t.csv", "file,label", *(f"train/a/{n},x" for n in NAMES))
    assert find(tmp_path).problems[0].endswith("add photos to train/c/ or remove val/c/")


# --- Parquet and DataFrames -----------------------------------------------------------------------


def test_parquet_without_pyarrow_says_what_to_install(images, monkeypatch):
    (images / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"t\.parquet: Parquet needs the package pyarrow: pip install"
    ):
        load_data(images / "t.parquet")


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="needs pyarrow")
def test_parquet_is_read_as_any_table(images):
    import pyarrow
    from pyarrow import parquet

    cells = {"image_id": [n[:-4] for n in NAMES], "label": list(EXPECTED.values())}
    parquet.write_table(pyarrow.table(cells), images / "t.parquet")
    assert labels_of(images / "t.parquet") == EXPECTED
    (images / "t.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no Parquet file, or a damaged one"):
        find(images / "t.parquet")


class Frame(SimpleNamespace):
    """What is asked of a DataFrame, as Polars has it."""

    iter_rows = None

    def __len__(self) -> int:
        return len(NAMES)

    def __getitem__(self, name):
        return self.cells[name]


def test_a_data_frame_is_a_table_whose_paths_begin_in_the_current_folder(images, monkeypatch):
    monkeypatch.chdir(images)
    cells = {"path": [f"images/{n}" for n in NAMES], "label": [i % 2 for i in range(12)]}
    found = find(Frame(columns=list(cells), cells=cells))
    assert found.classes == ["0", "1"] and len(found.photos) == 12
    cells["label"][3] = float("nan")
    assert (
        "the DataFrame, row 3: the label is empty"
        in find(Frame(columns=list(cells), cells=cells)).faults[0]
    )


@pytest.mark.skipif(not importlib.util.find_spec("pandas"), reason="needs pandas")
def test_a_data_frame_of_pandas_is_a_table(images, monkeypatch):
    import pandas

    monkeypatch.chdir(images)
    frame = pandas.DataFrame(
        {"path": [f"images/{n}" for n in NAMES], "label": list(EXPECTED.values())}
    )
    assert labels_of(frame.iloc[::-1]) == EXPECTED
