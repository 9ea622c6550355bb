// What makes the pages quicker to use. Each works without; nothing here is needed to read or to act.
import { everyPage } from "./page.js";
import { keyboard } from "./keys.js";
import { rows } from "./rows.js";
import { one } from "./one.js";
import { bulk } from "./bulk.js";
import { log } from "./log.js";
import { clocks } from "./clocks.js";
import { search } from "./search.js";
import { Live } from "./live.js";

const live = new Live();
clocks(live);
everyPage(live);
keyboard(live);
rows(live);
one(live);
bulk(live);
log(live);
search();
live.start();
