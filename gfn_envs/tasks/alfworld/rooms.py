"""What is in the rooms of official games: counts over the 3,693 train and valid_seen games, rounded.

The generator draws its rooms from these tables, so that new games look like official ones. A room in a table is a
kind of room; ALFRED's floor plans are 27 of each.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

ROOMS_OF_TASKS = {
    "pick_and_place_simple": {"kitchen": 83, "living room": 220, "bedroom": 245, "bathroom": 277},
    "look_at_obj_in_light": {"living room": 53, "bedroom": 268},
    "pick_clean_then_place_in_recep": {"kitchen": 520, "bathroom": 157},
    "pick_heat_then_place_in_recep": {"kitchen": 475},
    "pick_cool_then_place_in_recep": {"kitchen": 558},
    "pick_two_obj_and_place": {"kitchen": 128, "living room": 221, "bedroom": 246, "bathroom": 242},
}
"""How many official games of each task type are in which kind of room."""

RECEPTACLES = {
    "kitchen": """
        cabinet 4 9 10 11 13 13 16 20 20 26
        coffeemachine 1 1 1 1 1 1 1 1 1 1
        countertop 1 1 2 2 2 2 3 3 3 4
        diningtable 0 0 0 0 1 1 1 1 1 2
        drawer 1 3 3 3 4 5 6 7 9 13
        fridge 1 1 1 1 1 1 1 1 1 1
        garbagecan 1 1 1 1 1 1 1 1 1 1
        microwave 1 1 1 1 1 1 1 1 1 1
        shelf 0 0 0 0 0 0 0 0 0 3
        sidetable 0 0 0 0 0 0 0 0 0 1
        sinkbasin 1 1 1 1 1 1 1 1 1 1
        stoveburner 4 4 4 4 4 4 4 4 4 4
        toaster 1 1 1 1 1 1 1 1 1 1
    """,
    "living room": """
        armchair 0 1 1 1 1 1 1 2 2 2
        cabinet 0 0 0 0 0 0 0 0 0 4
        coffeetable 0 1 1 1 1 1 1 1 2 2
        diningtable 0 0 0 0 0 1 1 1 1 2
        drawer 0 0 1 1 2 4 4 6 7 12
        dresser 0 0 0 0 0 0 0 1 1 1
        garbagecan 1 1 1 1 1 1 1 1 1 1
        ottoman 0 0 0 0 0 0 0 0 0 1
        shelf 0 0 0 0 0 0 1 4 6 13
        sidetable 0 0 1 1 1 1 2 2 3 3
        sofa 1 1 1 1 1 1 1 1 2 2
        tvstand 0 0 0 0 0 0 1 1 1 2
    """,
    "bedroom": """
        armchair 0 0 0 0 0 0 0 0 1 2
        bed 1 1 1 1 1 1 1 1 1 2
        cabinet 0 0 0 0 0 0 0 0 0 4
        desk 0 0 0 1 1 1 1 1 1 2
        diningtable 0 0 0 0 0 0 0 0 0 1
        drawer 2 2 2 3 4 5 6 10 11 16
        dresser 0 0 0 0 0 1 1 1 1 2
        garbagecan 1 1 1 1 1 1 1 1 1 1
        laundryhamper 0 0 0 0 0 0 0 1 1 1
        safe 0 0 0 0 0 0 0 0 0 1
        shelf 0 0 0 1 1 1 2 5 7 12
        sidetable 0 0 0 1 1 1 1 1 2 2
    """,
    "bathroom": """
        bathtubbasin 0 0 0 1 1 1 1 1 1 1
        cabinet 0 0 0 0 0 2 4 4 4 5
        cart 0 0 0 0 0 0 0 0 0 1
        countertop 0 1 1 1 1 1 1 1 1 2
        drawer 0 0 0 0 1 2 4 4 6 8
        dresser 0 0 0 0 0 0 0 0 0 1
        garbagecan 1 1 1 1 1 1 1 1 1 1
        handtowelholder 1 1 1 1 1 1 2 2 2 2
        shelf 0 0 0 0 0 0 0 1 1 3
        sidetable 0 0 0 0 0 0 0 0 0 1
        sinkbasin 1 1 1 1 1 1 2 2 2 2
        toilet 1 1 1 1 1 1 1 1 1 1
        toiletpaperhanger 1 1 1 1 1 1 1 1 1 1
        towelholder 1 1 1 1 1 1 1 2 2 2
    """,
}
"""For each kind of receptacle how many of it a room has: the ten deciles over the floor plans."""

THINGS = {
    "kitchen": """
        apple 2.0 countertop 24 fridge 24 diningtable 15 microwave 13 garbagecan 12 sinkbasin 9
        book 0.2 countertop 64 cabinet 15 diningtable 12 drawer 6 shelf 4
        bowl 2.0 cabinet 36 countertop 21 fridge 21 diningtable 15 sinkbasin 3 microwave 3
        bread 1.6 countertop 56 diningtable 31 fridge 12
        butterknife 1.8 countertop 58 diningtable 27 drawer 8 sinkbasin 6
        cellphone 0.2 drawer 43 countertop 40 diningtable 17
        creditcard 0.2 countertop 46 drawer 37 shelf 17
        cup 2.0 cabinet 23 countertop 21 fridge 21 diningtable 15 sinkbasin 10 microwave 7
        dishsponge 2.0 countertop 26 cabinet 24 drawer 21 diningtable 13 sinkbasin 8 garbagecan 6 shelf 3
        egg 2.0 fridge 25 countertop 24 sinkbasin 13 garbagecan 13 diningtable 12 microwave 12
        fork 1.9 countertop 44 diningtable 24 drawer 22 sinkbasin 9
        glassbottle 0.5 cabinet 31 countertop 27 diningtable 13 sinkbasin 10 fridge 9 garbagecan 7 shelf 3
        houseplant 0.4 countertop 77 diningtable 23
        kettle 0.9 stoveburner 42 countertop 26 cabinet 24 diningtable 7
        knife 1.9 countertop 48 diningtable 25 drawer 21 sinkbasin 5
        ladle 0.7 countertop 42 cabinet 25 drawer 17 diningtable 14 sinkbasin 2
        lettuce 1.8 countertop 41 diningtable 29 fridge 23 sinkbasin 5
        mug 1.9 countertop 28 coffeemachine 17 cabinet 15 fridge 14 diningtable 10 microwave 7 sinkbasin 6
        pan 1.4 stoveburner 52 countertop 33 cabinet 7 diningtable 4 fridge 4
        papertowelroll 0.4 countertop 57 diningtable 17 garbagecan 15 shelf 9 sidetable 2
        pen 0.1 countertop 40 diningtable 35 drawer 20 garbagecan 5
        pencil 0.1 drawer 40 countertop 30 diningtable 20 garbagecan 9
        peppershaker 2.1 cabinet 33 countertop 31 diningtable 16 drawer 15 shelf 3 sidetable 2
        plate 1.7 cabinet 40 countertop 30 diningtable 16 fridge 9 sinkbasin 2
        pot 1.6 stoveburner 73 countertop 14 fridge 4 diningtable 4 cabinet 3
        potato 2.0 countertop 29 fridge 26 diningtable 16 sinkbasin 11 microwave 10 garbagecan 6
        saltshaker 2.0 countertop 32 cabinet 32 diningtable 17 drawer 14 shelf 3 sidetable 2
        soapbottle 1.9 countertop 32 cabinet 30 diningtable 21 garbagecan 10 shelf 3
        spatula 1.9 countertop 45 diningtable 25 drawer 21 sinkbasin 9
        spoon 1.9 countertop 37 drawer 28 diningtable 22 sinkbasin 11
        spraybottle 0.1 cabinet 33 countertop 33 diningtable 22 garbagecan 12
        statue 0.3 countertop 51 shelf 44 diningtable 5
        tomato 2.0 fridge 33 countertop 30 diningtable 20 garbagecan 9 sinkbasin 7
        vase 0.4 countertop 34 shelf 32 cabinet 31 diningtable 3
        winebottle 0.8 countertop 37 cabinet 25 diningtable 24 garbagecan 9 shelf 3
    """,
    "living room": """
        book 0.5 coffeetable 29 dresser 24 sofa 16 armchair 11 sidetable 9 diningtable 9
        bowl 0.2 diningtable 39 coffeetable 27 tvstand 19 sidetable 8 shelf 7
        box 1.2 diningtable 26 sofa 25 coffeetable 23 sidetable 8 cabinet 4 dresser 4 shelf 4 armchair 3
        candle 0.2 sidetable 41 coffeetable 28 diningtable 20 tvstand 6 drawer 3
        cellphone 0.4 dresser 19 coffeetable 16 sidetable 16 drawer 13 sofa 13 diningtable 9 armchair 5 ottoman 3
        creditcard 2.2 sofa 19 coffeetable 15 armchair 13 drawer 13 sidetable 11 diningtable 9 tvstand 7 dresser 7
        desklamp 0.3 sidetable 91 coffeetable 9
        houseplant 0.7 sidetable 52 coffeetable 26 dresser 11 diningtable 6 tvstand 5
        keychain 1.6 coffeetable 20 drawer 16 sidetable 16 sofa 13 armchair 9 tvstand 8 diningtable 7 dresser 6
        laptop 1.4 sofa 28 coffeetable 24 diningtable 21 dresser 8 sidetable 7 armchair 5 tvstand 5
        newspaper 1.2 sofa 20 coffeetable 17 diningtable 17 sidetable 14 shelf 11 dresser 8 armchair 7 tvstand 3
        pen 0.4 coffeetable 34 sidetable 22 dresser 21 tvstand 6 drawer 6 garbagecan 4 diningtable 4 shelf 4
        pencil 0.3 sidetable 33 coffeetable 29 drawer 10 dresser 7 garbagecan 6 tvstand 6 shelf 5 diningtable 4
        pillow 1.1 sofa 80 armchair 19
        plate 0.6 diningtable 50 coffeetable 23 shelf 13 sidetable 11 tvstand 2
        remotecontrol 1.9 coffeetable 24 sofa 19 sidetable 13 diningtable 11 dresser 9 tvstand 8 armchair 8 drawer 4
        statue 2.2 coffeetable 25 diningtable 20 shelf 19 sidetable 19 tvstand 9 dresser 8
        television 0.7 tvstand 45 dresser 43 coffeetable 9 sidetable 3
        tissuebox 0.7 coffeetable 36 diningtable 20 sidetable 19 shelf 11 tvstand 7 drawer 3 dresser 2
        vase 1.5 shelf 36 coffeetable 20 diningtable 15 sidetable 11 dresser 10 tvstand 6
        watch 1.1 coffeetable 26 drawer 21 sidetable 18 diningtable 11 tvstand 10 dresser 10 shelf 4
        wateringcan 0.1 coffeetable 53 shelf 38 sidetable 9
    """,
    "bedroom": """
        alarmclock 1.7 desk 34 shelf 21 sidetable 19 dresser 17 diningtable 7
        book 1.9 bed 51 desk 19 drawer 12 dresser 5 sidetable 4 cabinet 3 diningtable 2
        bowl 0.7 desk 43 shelf 30 dresser 14 diningtable 6 sidetable 4 countertop 2
        cd 1.8 drawer 28 desk 20 dresser 14 sidetable 13 garbagecan 8 shelf 7 diningtable 6
        cellphone 2.1 bed 29 desk 17 drawer 17 dresser 10 sidetable 10 shelf 8 diningtable 3 armchair 3
        creditcard 2.0 drawer 30 shelf 18 desk 17 sidetable 16 dresser 12 diningtable 3 armchair 3
        desklamp 0.8 desk 36 sidetable 29 dresser 25 shelf 11
        houseplant 0.2 shelf 43 desk 32 cabinet 16 dresser 9
        keychain 1.9 drawer 26 desk 18 shelf 16 sidetable 16 dresser 13 diningtable 4 safe 4 armchair 3
        laptop 1.6 bed 74 desk 18 dresser 4 diningtable 2
        mug 0.9 desk 36 shelf 18 sidetable 16 dresser 15 diningtable 10 cabinet 4
        pen 2.1 desk 28 drawer 18 shelf 16 dresser 15 sidetable 14 diningtable 7
        pencil 2.0 desk 24 drawer 18 sidetable 18 shelf 17 dresser 12 diningtable 6 garbagecan 5
        pillow 1.7 bed 99
        remotecontrol 0.2 drawer 34 desk 29 sidetable 14 countertop 8 armchair 6 diningtable 5 dresser 3
        statue 0.2 shelf 44 dresser 26 desk 25 sidetable 5
        teddybear 0.3 bed 100
        tissuebox 0.3 desk 38 drawer 25 diningtable 15 shelf 12 sidetable 9
        vase 0.1 shelf 45 dresser 35 desk 11 sidetable 9
        watch 0.1 drawer 31 shelf 20 diningtable 16 desk 15 dresser 12 sidetable 6
    """,
    "bathroom": """
        candle 1.9 countertop 31 toilet 30 cabinet 13 drawer 13 shelf 7 sidetable 2
        cloth 2.0 bathtubbasin 33 cabinet 20 countertop 16 drawer 15 shelf 5 sinkbasin 5 toilet 3
        dishsponge 0.5 countertop 19 drawer 19 bathtubbasin 19 sinkbasin 11 shelf 9 toilet 8 cart 6 cabinet 5
        handtowel 1.2 handtowelholder 96 countertop 4
        papertowelroll 0.1 countertop 34 toilet 32 shelf 16 garbagecan 11 cart 6
        soapbar 1.9 countertop 20 toilet 15 sinkbasin 15 bathtubbasin 12 cabinet 12 drawer 11 garbagecan 7 shelf 4
        soapbottle 1.8 countertop 30 toilet 24 cabinet 21 shelf 10 garbagecan 9 drawer 3 dresser 2
        spraybottle 2.0 countertop 32 toilet 26 cabinet 16 garbagecan 10 shelf 7 cart 4 sidetable 3
        tissuebox 0.5 countertop 35 shelf 30 drawer 20 cabinet 5 cart 4 sidetable 4 toilet 2
        toiletpaper 2.0 toilet 23 countertop 22 toiletpaperhanger 12 cabinet 12 drawer 11 garbagecan 9 shelf 6
        towel 1.1 towelholder 98 countertop 2
    """,
}
"""For each kind of thing its mean count in a room, then the per cent of it that are in each kind of receptacle."""

OPENABLE = {"cabinet": 0.84, "drawer": 0.85, "fridge": 1.0, "microwave": 1.0, "safe": 0.85}
"""Share of each kind of receptacle that has a door."""
FIXED = frozenset({"desklamp", "houseplant", "television"})
"""Kinds of things that cannot be picked up; a room has one of them at most."""
NEIGHBOURS = {
    "cabinet": ("cabinet", 0.07),
    "coffeemachine": ("countertop", 0.22),
    "drawer": ("drawer", 0.15),
    "dresser": ("drawer", 0.15),
    "shelf": ("shelf", 0.1),
    "stoveburner": ("stoveburner", 0.5),
    "toaster": ("countertop", 0.3),
    "tvstand": ("shelf", 0.3),
}
"""With what a kind of receptacle shares the pose, and how probably it does."""


class KindOfThing(NamedTuple):
    """How many of a kind a room has on average, and how probable the kinds of receptacles are that they are in."""

    mean: float
    places: dict[str, float]


@cache
def receptacles_of(room: str) -> dict[str, tuple[int, ...]]:
    """Returns for each kind of receptacle the deciles of its count in a kind of room."""
    return {row[0]: tuple(map(int, row[1:])) for row in _rows(RECEPTACLES[room])}


@cache
def things_of(room: str) -> dict[str, KindOfThing]:
    """Returns the kinds of things in a kind of room."""
    return {
        row[0]: KindOfThing(float(row[1]), dict(zip(row[2::2], map(float, row[3::2]), strict=True)))
        for row in _rows(THINGS[room])
    }


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]
