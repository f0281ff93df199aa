"""The page in a browser: no error, nothing loaded, it sorts, and a point is described.

Takes `pip install "jatlas[browser]"` and a Chromium on the PATH; run with `-m slow`.
"""

import shutil

import numpy as np
import pages
import pytest

pytestmark = pytest.mark.slow
ORIGINAL, ORACLE, BLIND = "both/original_rel", "oracle/merged", "blind/merged"


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("playwright is not installed: `pip install playwright`.")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(
            f"none of {names} is on the PATH: `apt-get install chromium`, or "
            "`playwright install chromium` and a link to it."
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return pages.write(tmp_path_factory.mktemp("page"))


@pytest.fixture(params=[1280, 400])
def opened(browser, written, request):
    """The page at one width; that nothing was said or loaded is checked at the end."""
    view = browser.new_page(viewport={"width": request.param, "height": 900})
    said, loaded = [], []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda asked: loaded.append(asked.url))
    view.goto(written[0].as_uri())
    view.wait_for_selector("html[data-ready=yes]", timeout=30_000)
    yield view
    view.close()
    assert said == []
    others = [url for url in loaded if not url.startswith(("data:", "blob:"))]
    assert others == [written[0].as_uri()]


def choose(view, **values):
    for name, value in values.items():
        view.select_option(f"#{name}", value)


def facts(view):
    """What is said of the point that is shown."""
    names = view.locator("#facts dt").all_inner_texts()
    values = view.locator("#facts dd").all_inner_texts()
    return dict(zip(names, values, strict=True))


def hover(view, side, point):
    """Point at a sample where its coordinates are drawn."""
    plot = view.locator(f"#{side}")
    plot.evaluate("plot => plot.scrollIntoView()")
    view.mouse.move(0, 0)
    where = view.evaluate(
        """([side, point]) => {
            const plot = document.getElementById(side), l = plot._fullLayout;
            for (const trace of plot.data) {
                const k = (trace.customdata ?? []).indexOf(point);
                if (k < 0) continue;
                const box = plot.getBoundingClientRect();
                return [box.x + l.xaxis._offset + l.xaxis.d2p(trace.x[k]),
                        box.y + l.yaxis._offset + l.yaxis.d2p(trace.y[k])];
            }
        }""",
        [side, point],
    )
    view.mouse.move(*where)
    view.wait_for_timeout(200)


def test_the_page_is_no_wider_than_the_window_and_plots_stack_where_it_is_narrow(
    opened,
):
    for part in opened.locator("details").all():
        part.evaluate("d => d.open = true")
    width = opened.viewport_size["width"]
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    left, right = (opened.locator(f"#{s}").bounding_box() for s in ("left", "right"))
    if width == 400:
        assert right["y"] >= left["y"] + left["height"]
        assert left["width"] > 350
    else:
        assert right["y"] == left["y"]
        assert right["x"] >= left["x"] + left["width"]


def test_a_table_sorts_by_numbers_both_ways_and_by_names(opened):
    table = opened.locator("#tables table.sorts").first

    def column(number):
        cells = table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()
        return [cell if number == 1 else cell.split(" ")[0] for cell in cells]

    before = column(2)
    assert len(before) == 11
    numbers = sorted(float(v) for v in before if v not in ("n/a", "nan"))
    heading = table.locator("thead th").nth(1)
    heading.locator("button").click()
    down = column(2)
    assert [float(v) for v in down[: len(numbers)]] == numbers[::-1]
    assert set(down[len(numbers) :]) <= {"n/a", "nan"}
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").click()
    assert [float(v) for v in column(2)[: len(numbers)]] == numbers
    assert heading.get_attribute("aria-sort") == "ascending"
    table.locator("thead th button").first.click()
    assert column(1) == sorted(column(1), key=str.lower)
    assert heading.get_attribute("aria-sort") is None


@pytest.mark.parametrize("side", ["left", "right"])
def test_pointing_at_a_sample_shows_its_image_class_and_charts(opened, written, side):
    cell, data = written[1][1], pages.dataset()
    choose(opened, cell="1", projection="tsne")
    point = most_alone(cell.arrays[f"tsne/{ORIGINAL if side == 'left' else ORACLE}"])
    hover(opened, side, point)
    number = cell.sample[point]
    charts = ", ".join(str(m + 1) for m in np.flatnonzero(cell.presence[:, point]))
    label = data.labels[number]
    assert facts(opened) == {
        "sample": data.ids[number],
        "class": data.class_names[label],
        "superclass": data.superclass_names[data.superclasses[label]],
        "in tasks of charts": f"{charts} of 2",
        "merged from charts": charts,
    }
    shown = opened.evaluate(PIXELS)
    np.testing.assert_allclose(shown, data.images[number, ..., 0], atol=1)
    marks = opened.evaluate(
        "['left', 'right'].map(s => { const d = document.getElementById(s).data;"
        " return d[d.length - 1].x.length; })"
    )
    assert marks == [1, 1]
    choose(opened, protocol="blind/merged")
    assert facts(opened) == {"sample": "none is pointed at"}
    hover(opened, "left", most_alone(cell.arrays[f"tsne/{ORIGINAL}"]))
    assert facts(opened)["merged from charts"] == "all 2"


def most_alone(points):
    """The point whose nearest one is farthest: none lies over it."""
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    return int(distances.min(axis=1).argmax())


# The part of the sheet that the box shows, drawn again at its own size.
PIXELS = """async () => {
    const style = document.getElementById("image").style, sheet = new Image();
    sheet.src = style.backgroundImage.slice(5, -2);
    await sheet.decode();
    const scale = parseFloat(style.backgroundSize) / sheet.width;
    const own = (text) => Math.round(parseFloat(text) / scale);
    const [x, y] = style.backgroundPosition.split(" ").map(own);
    const [w, h] = [style.width, style.height].map(own);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [w, h];
    const context = canvas.getContext("2d");
    context.drawImage(sheet, x, y);
    const found = context.getImageData(0, 0, w, h).data;
    const row = (r) => [...Array(w).keys()].map((c) => found[4 * (r * w + c)]);
    return [...Array(h).keys()].map(row);
}"""


def test_colouring_is_by_class_superclass_and_charts_and_a_name_hides_its_samples(
    opened, written
):
    def names():
        texts = opened.locator("#legend button").all_inner_texts()
        return [text[1:] for text in texts]

    def visible():
        return opened.evaluate(
            "document.getElementById('left').data.slice(0, -1)"
            ".map(t => t.visible === false ? 0 : t.x.length)"
        )

    presence = written[1][0].presence[:, np.arange(60) != 2]
    assert names() == list(pages.CLASSES)
    assert visible() == [15, 15, 14, 15]
    choose(opened, colouring="superclass")
    assert names() == ["even <b>", "odd"]
    assert visible() == [29, 30]
    choose(opened, colouring="count")
    counts, numbers = np.unique(presence.sum(axis=0), return_counts=True)
    assert names() == [f"{count} of 3 charts" for count in counts]
    assert visible() == numbers.tolist()
    choose(opened, colouring="chart 1")
    inside = int(presence[1].sum())
    assert names() == ["not in chart 2's task", "in chart 2's task"]
    assert visible() == [59 - inside, inside]
    button = opened.locator("#legend button").first
    button.click()
    assert visible() == [0, inside]
    opened.locator("#legend button").first.click()
    assert visible() == [59 - inside, inside]


def test_protocol_and_projection_choose_what_is_drawn_and_shared_axes_are_alike(
    opened, written
):
    cell = written[1][0]
    kept = np.arange(60) != 2

    def drawn(side):
        return opened.evaluate(
            """(side) => document.getElementById(side).data.slice(0, -1).flatMap(
                (t) => t.customdata.map((k, i) => [k, t.x[i], t.y[i]])
            ).sort((a, b) => a[0] - b[0]).map((row) => row.slice(1))""",
            side,
        )

    def limits(side):
        return opened.evaluate(
            """(side) => ["xaxis", "yaxis"].map(
                (axis) => document.getElementById(side).layout[axis].range)""",
            side,
        )

    for protocol in (ORACLE, BLIND):
        choose(opened, projection="tsne", protocol=protocol)
        for side, name in (("left", ORIGINAL), ("right", protocol)):
            expected = cell.arrays[f"tsne/{name}"][kept]
            np.testing.assert_allclose(drawn(side), expected, rtol=1e-3)
    assert (
        opened.locator("#right-title").inner_text() == "atlas, blind (task not known)"
    )
    choose(opened, projection="own")
    assert limits("left") != limits("right")
    choose(opened, projection="shared")
    assert limits("left") == limits("right")
    choose(opened, cell="1")
    assert opened.locator("#colouring option").count() == 5  # one chart fewer


def test_by_keyboard_alone_a_sample_is_found_a_name_hidden_and_a_table_sorted(opened):
    keys = opened.keyboard
    opened.locator("#left").focus()
    keys.press("Home")
    first = facts(opened)["sample"]
    x = "document.getElementById('left').data.at(-1).x[0]"
    before = opened.evaluate(x)
    keys.press("ArrowRight")
    assert facts(opened)["sample"] != first
    assert opened.evaluate(x) > before
    keys.press("Escape")
    assert facts(opened) == {"sample": "none is pointed at"}
    button = opened.locator("#legend button").first
    button.focus()
    for pressed in ("false", "true"):
        keys.press("Space")
        assert button.get_attribute("aria-pressed") == pressed
        assert button.evaluate("b => b === document.activeElement")
    opened.locator("#hide-all").focus()
    keys.press("Enter")
    states = opened.locator("#legend button[aria-pressed=true]")
    assert states.count() == 0
    heading = opened.locator("#tables thead").first.locator("th")
    heading.first.locator("button").focus()
    keys.press("ArrowRight")
    keys.press("Enter")
    assert heading.nth(1).get_attribute("aria-sort") == "descending"
