"""What ALFWorld's kinds of things are good for: the constant part of its domain, as a table.

Official games repeat these facts for every object. They are the same in all of them, so a problem names
kinds only, and a game that says otherwise is refused when it is read. Things and receptacles are named
as the engine names them, in lower case: 'apple', 'sinkbasin'. Source: the constants of ALFRED
(Shridhar et al. 2020), from which ALFWorld's games were made.
"""

from __future__ import annotations

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
TREATMENTS = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
"""The verb of each treatment and the kind of receptacle that gives it."""


def _kinds(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FOOD = "apple egg potato tomato"
_SMALL = "candle cd cellphone cloth creditcard keychain pen pencil remotecontrol watch"
_ROLLS = "toiletpaper toiletpaperroll"
_SOFA = "basketball book box cellphone cloth creditcard keychain laptop newspaper pillow remotecontrol"
_DRESSER = (
    f"{_SMALL} {_ROLLS} alarmclock basketball book bowl box cup glassbottle laptop mug newspaper plate spraybottle "
    "statue tennisracket tissuebox vase wateringcan winebottle"
)
_TABLE = (
    f"{_DRESSER} {_FOOD} baseballbat bread butterknife dishsponge fork handtowel kettle knife ladle lettuce pan "
    "papertowel peppershaker pot saltshaker soapbar soapbottle spatula spoon"
)
ACCEPTS = {
    "armchair": _kinds(_SOFA),
    "bathtubbasin": _kinds("cloth dishsponge handtowel soapbar"),
    "bed": _kinds("baseballbat basketball book cellphone laptop newspaper pillow tennisracket"),
    "cabinet": _kinds(
        f"{_ROLLS} book bowl box candle cd cloth cup dishsponge glassbottle handtowel kettle ladle mug newspaper pan "
        "peppershaker plate plunger pot saltshaker soapbar soapbottle spraybottle tissuebox vase wateringcan winebottle"
    ),
    "cart": _kinds(
        f"{_ROLLS} candle cloth dishsponge handtowel mug papertowel plunger soapbar soapbottle spraybottle statue "
        "tissuebox vase"
    ),
    "coffeemachine": _kinds("mug"),
    "coffeetable": _kinds(_TABLE),
    "countertop": _kinds(_TABLE),
    "desk": _kinds(f"{_DRESSER} soapbottle"),
    "diningtable": _kinds(_TABLE),
    "drawer": _kinds(
        f"{_SMALL} {_ROLLS} book butterknife dishsponge fork handtowel knife ladle newspaper peppershaker saltshaker "
        "soapbar soapbottle spatula spoon spraybottle tissuebox wateringcan"
    ),
    "dresser": _kinds(_DRESSER),
    "fridge": _kinds(f"{_FOOD} bowl bread cup glassbottle lettuce mug pan plate pot winebottle"),
    "garbagecan": _kinds(
        f"{_FOOD} {_ROLLS} bread cd cloth dishsponge handtowel lettuce newspaper papertowel pen pencil soapbar "
        "soapbottle spraybottle tissuebox winebottle"
    ),
    "handtowelholder": _kinds("handtowel"),
    "laundryhamper": _kinds("cloth"),
    "microwave": _kinds(f"{_FOOD} bowl bread cup glassbottle mug plate"),
    "ottoman": _kinds(_SOFA),
    "safe": _kinds("cd cellphone creditcard keychain statue vase watch"),
    "shelf": _kinds(
        f"{_SMALL} {_ROLLS} alarmclock book bowl box cup dishsponge glassbottle handtowel kettle mug newspaper "
        "papertowel peppershaker plate pot saltshaker soapbar soapbottle spraybottle statue tissuebox vase wateringcan "
        "winebottle"
    ),
    "sidetable": _kinds(_TABLE),
    "sinkbasin": _kinds(
        f"{_FOOD} bowl butterknife cloth cup dishsponge fork glassbottle handtowel kettle knife ladle lettuce mug pan "
        "plate pot soapbar spatula spoon"
    ),
    "sofa": _kinds(_SOFA),
    "stoveburner": _kinds("kettle pan pot"),
    "toaster": _kinds(""),
    "toilet": _kinds(
        f"{_ROLLS} candle cloth dishsponge handtowel newspaper papertowel soapbar soapbottle spraybottle tissuebox"
    ),
    "toiletpaperhanger": _kinds(_ROLLS),
    "towelholder": _kinds("towel"),
    "tvstand": _kinds("tissuebox"),
}
"""For each kind of receptacle the kinds of things that can be put there."""

ABILITIES = {
    "clean": _kinds(
        f"{_FOOD} bowl butterknife cloth cup dishsponge fork kettle knife ladle lettuce mug pan plate pot soapbar "
        "spatula spoon"
    ),
    "heat": _kinds(f"{_FOOD} bread cup mug plate"),
    "cool": _kinds(f"{_FOOD} bowl bread cup lettuce mug pan plate pot winebottle"),
    "slice": _kinds(f"{_FOOD} bread lettuce"),
    "use": _kinds("desklamp floorlamp"),
    "contain": _kinds("bowl box cup mug pan plate pot"),
}
"""For each verb the kinds of things that it works on; 'contain': things that are vessels themselves."""
KNIVES = _kinds("knife butterknife")
