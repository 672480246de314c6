// Answers test_look.py: reads scenes on standard input, writes where the page's module puts their labels.
import { readFileSync } from "node:fs";

const folder = process.argv[2];
const { Mask } = await import(`${folder}/mask.js`);
const { placeLabels } = await import(`${folder}/placing.js`);
const { LOOK } = await import(`${folder}/look.js`);
const { colourOf } = await import(`${folder}/palette.js`);

const { scenes, colours } = JSON.parse(readFileSync(0, "utf8"));
const places = scenes.map(({ instances, photo, sizes }) => {
  const read = instances.map(({ score, box, counts, window }) => ({ score, box, mask: new Mask(counts, window) }));
  return placeLabels(read, photo, sizes);
});
process.stdout.write(JSON.stringify({ look: LOOK, places, colours: colours.map(colourOf) }));
