// What every page has beyond plain HTML: theme, keyboard, copy buttons, chart hover, live tail. All of it optional.
import { theme, copiers } from "./small.js";
import { keyboard } from "./keyboard.js";
import { charts } from "./charts.js";
import { tail } from "./tail.js";
import { live } from "./live.js";

theme();
copiers(document);
keyboard();
charts();
tail();
live();
