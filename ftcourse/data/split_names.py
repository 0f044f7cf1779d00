"""What the name of a folder says it is: a split, photos that go with masks or labels, the system's own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["is_date", "is_inputs", "is_targets", "role_of", "roles_of"]

_TRAIN = """
    train training trn entrainement apprentissage entrenamiento treino treinamento addestramento lernen
    обучение обучающая тренировка тренировочная 训练 訓練 学習 학습 훈련
"""
_VAL = """
    val valid validate validation dev devel development eval evaluation tuning validierung validacion validacao
    validazione валидация валидационная проверка проверочная 验证 驗證 検証 검증
"""
_TEST = """
    test tests testing tst holdout heldout prueba pruebas teste testes prova essai тест тестовая
    测试 測試 テスト 테스트
"""
_ROLES = {
    word: role
    for role, words in (("train", _TRAIN), ("val", _VAL), ("test", _TEST))
    for word in words.split()
}
# words that may stand beside such a word without changing what it means
_BESIDE = """
    set sets data dataset datasets split image images img imgs photo photos picture pictures pics raw all new
    final seg cropped resized full 集 数据 数据集 セット データ 세트 데이터 выборка
"""
_FILLERS = frozenset(_BESIDE.split())
_FOLD = re.compile(r"(?:fold|kfold|cv|faltung|pli)[ _-]?(\d+)")
_PHOTOS = "image images img imgs jpegimages photo photos picture pictures input inputs"
_INPUTS = frozenset(_PHOTOS.split())
_TOLD = """
    mask masks label labels annotation annotations annot annots anno annos gt groundtruth segmentation
    segmentations segmentationclass segmentationobject trimap trimaps target targets bbox bboxes xml xmls
"""
_TARGETS = frozenset(_TOLD.split())
# 2023, 2023-05, 2023_05_14, 20230514; and what cameras call their folders: DCIM, 100CANON
_DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}|dcim|\d{3}[a-z_]{5}")


def _plain(name: str) -> str:
    """Small letters without accents: Entraînement is entrainement."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    return unicodedata.normalize(
        "NFC", "".join(c for c in apart if ord(c) not in range(0x300, 0x370))
    )


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", re.sub(r"h(o|e)ld[-_ ]out", r"h\1ldout", _plain(name)))


def _role_of_word(word: str) -> str | None:
    """`train`, and with what stands beside it in one word: trainset, 训练集."""
    for end in ("", *_FILLERS):
        if word.endswith(end) and (role := _ROLES.get(word.removesuffix(end))):
            return role
    return None


def role_of(name: str, *, alone: bool = True) -> str | None:
    """ "train", "val" or "test" if a folder's name says so, in one of several languages.

    Args:
        alone: nothing else may be in the name but words such as "set" or "images"; otherwise any other
            word may stand beside it (cars_train), which is to be believed of folders only that look like splits.
    """
    words = _words(name)
    roles = {role for word in words if (role := _role_of_word(word))}
    others = [w for w in words if w not in _FILLERS and not _role_of_word(w)]
    return roles.pop() if len(roles) == 1 and not (alone and others) else None


def roles_of(names: Sequence[str], *, alone: bool = False) -> dict[str, str]:
    """The split that each of some folders is; {} unless one is for training and another is not.

    With `alone` the names must say nothing else, and those that tell nothing are left out; without, all must tell.

    Of numbered folds (fold1, fold2, ...) the last is the test, the one before it validation if there are three.
    """
    folds = (
        {} if alone else {name: int(m[1]) for name in names if (m := _FOLD.fullmatch(_plain(name)))}
    )
    if len(folds) == len(names) > 1 and len(set(folds.values())) == len(names):
        order = sorted(names, key=folds.__getitem__)
        held_out = dict(
            zip(reversed(order), ("test", "val") if len(order) > 2 else ("test",), strict=False)
        )
        return {name: held_out.get(name, "train") for name in names}
    roles = {name: role for name in names if (role := role_of(name, alone=alone))}
    if not {"train"} < set(roles.values()) or not (alone or len(roles) == len(names)):
        return {}
    judged = [
        name
        for name, role in roles.items()
        if role == "val" and {"eval", "evaluation"} & {*_words(name)}
    ]
    if "test" not in roles.values() and 0 < len(judged) < list(roles.values()).count("val"):
        roles |= dict.fromkeys(judged, "test")  # train, dev and eval: the last is the test
    return roles


def is_inputs(name: str) -> bool:
    """A folder of photos that another folder says something about: images/, JPEGImages/."""
    return _plain(name) in _INPUTS


def is_targets(name: str) -> bool:
    """A folder of what is said about photos: masks/, labels/, Annotations/."""
    return "".join(_words(name)) in _TARGETS


def is_date(name: str) -> bool:
    """A year, a month, a day, or a camera's folder: no class."""
    return _DATE.fullmatch(_plain(name)) is not None
