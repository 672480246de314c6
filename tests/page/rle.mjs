// Answers test_rle.py: reads a JSON list of cases on standard input, writes what the page's modules make of each.
import { readFileSync } from "node:fs";

const folder = process.argv[2];
const { Mask } = await import(`${folder}/mask.js`);
const { formatCounts, parseCounts } = await import(`${folder}/rle.js`);
const { roundHalfEven } = await import(`${folder}/instances.js`);

const answers = {
  parse: ({ counts }) => parseCounts(counts),
  format: ({ runs }) => formatCounts(runs),
  round: ({ values }) => values.map(roundHalfEven),
  mask: ({ counts, window, photo, scale }) => {
    const mask = new Mask(counts, window);
    const inside = [];
    for (let y = 0; y < photo.height; y++) for (let x = 0; x < photo.width; x++) inside.push(+mask.contains(x, y));
    const coverage = mask.coverage(scale);
    return { area: mask.area, inside, coco: mask.toCoco(photo), coverage: { ...coverage, alpha: [...coverage.alpha] } };
  },
};

const results = JSON.parse(readFileSync(0, "utf8")).map((question) => {
  try {
    return answers[question.kind](question);
  } catch (error) {
    return { error: error.constructor.name };
  }
});
process.stdout.write(JSON.stringify(results));
