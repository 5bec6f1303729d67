"""What a person can see, reach and hear of a page, asked of the browser that shows it; for scripts/page.

Owns the questions that hold for any page: contrast, overflow, focus, names, headings, landmarks, motion.

Must not know what the page is for. Every probe gives figures; what is enough is for the caller to say.
"""

# The lowest contrast of any text on its ground, by the formula of WCAG 2, and where.
CONTRAST = """(() => {
  const parts = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], ground) => [r, g, b].map((part, i) => part * a + ground[i] * (1 - a));
  const light = rgb => rgb.map(part => part / 255).map(part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [.2126, .7152, .0722][i], 0);
  const ground = node => {
    const own = node ? parts(getComputedStyle(node).backgroundColor) : [255, 255, 255, 1];
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(node.parentElement));
  };
  let worst = [99, ''], texts = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.closest('script, noscript')) continue;
    const style = getComputedStyle(node), under = ground(node);
    const ink = over(parts(node instanceof SVGElement ? style.fill : style.color), under);
    const [dark, bright] = [light(ink), light(under)].sort((a, b) => a - b), ratio = (bright + .05) / (dark + .05);
    texts++;
    if (ratio < worst[0]) worst = [ratio, walk.currentNode.data.trim().slice(0, 30)];
  }
  return { ratio: worst[0], where: worst[1], texts };
})()"""

# How much wider than the screen the page is, and the texts that are cut off or run out of it.
OVERFLOW = """(() => {
  const wide = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll('body *')].filter(node => node.checkVisibility() && !node.closest('.scroll, .unseen')
    && (node.getBoundingClientRect().right > wide + 1 || node.getBoundingClientRect().left < -1));
  return { more: document.documentElement.scrollWidth - wide, out: out.map(node => node.id || node.textContent.slice(0, 20)) };
})()"""

# Who has the focus, and how thick the line around it is.
FOCUS = """(() => {
  const node = document.activeElement, style = getComputedStyle(node);
  const name = node.id || node.getAttribute('href') || node.localName;
  return { name, line: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth) };
})()"""

# How many animations run at the most within so many milliseconds.
MOTION = """new Promise(done => {
  let most = 0, began = performance.now();
  (function look() {
    most = Math.max(most, document.getAnimations().length);
    performance.now() - began < %d ? requestAnimationFrame(look) : done(most);
  })();
})"""

CONTROLS = {"button", "radio", "slider", "link", "DisclosureTriangle", "checkbox", "textbox"}
LANDMARKS = {"banner", "main", "contentinfo", "navigation"}


def reached(page, tabs_max=40):
    """What the Tab key reaches, in order, once around; each with the thickness of its focus line."""
    # The next Tab starts from where the focus was last, even when nothing has it now.
    page.js("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    stops = []
    for _ in range(tabs_max):
        page.press("Tab")
        stop = page.js(FOCUS)
        if stop["name"] == "body" or stop["name"] in [name for name, _ in stops]:
            break
        stops.append((stop["name"], stop["line"]))
    page.js("document.activeElement.blur()")
    return stops


def heard(page):
    """What a screen reader finds: controls with their names, levels of headings, landmarks."""
    controls, levels, landmarks = [], [], set()
    for node in page.call("Accessibility.getFullAXTree")["nodes"]:
        role = node.get("role", {}).get("value")
        if node.get("ignored"):
            continue
        if role in CONTROLS:
            controls.append((role, node.get("name", {}).get("value", "").strip()))
        elif role == "heading":
            levels += [p["value"]["value"] for p in node["properties"] if p["name"] == "level"]
        elif role in LANDMARKS:
            landmarks.add(role)
    return controls, levels, landmarks
