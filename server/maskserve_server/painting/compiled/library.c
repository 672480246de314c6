/* What library.py calls. */

#include "mask.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#ifndef MASKSERVE_DIGEST
#define MASKSERVE_DIGEST 0
#endif

/* Return what these sources are: build.py computes it, and library.py takes no library of others. */
EXPORT uint32_t maskserve_digest(void) { return MASKSERVE_DIGEST; }

/* Where the window's rows or columns are among the samples of a box, which have a row and a column of zeros around;
   the arithmetic is that of pasted.py. */
static int paste(Line *line, int64_t start, int64_t count, float low, float high, int64_t cells) {
    int64_t *near = fresh(2 * count, sizeof *near), *far = near + count;
    float *weight = fresh(count, sizeof *weight);
    *line = (Line){near, far, weight};
    if (near == NULL || weight == NULL) return 0;
    for (int64_t i = 0; i < count; i++) {
        float inside = (((float)(start + i) + 0.5f) - low) / (high - low), position = inside * (float)cells - 0.5f;
        int64_t first = (int64_t)position;
        first -= (float)first > position;
        near[i] = clamp(first + 1, cells);
        far[i] = near[i] + 1;
        weight[i] = position > -1e9f && position < 1e9f ? position - (float)first : 0;  /* larger ones are whole */
    }
    return 1;
}

/* Compute the sums that masks with planes are made of, before they are painted. Returns 0 where memory is short. */
EXPORT int maskserve_sum(Mask *masks, int64_t count) { return sums_of(masks, count); }

/* Compute a mask's run lengths, background first, column by column of its window. Returns 0 where memory is short. */
EXPORT int maskserve_paint(Mask *mask) {
    int64_t width = mask->window[2] - mask->window[0], height = mask->window[3] - mask->window[1];
    Changes changes = {0};
    if (width > 0 && height > 0) {
        Mask own = *mask;
        if (mask->kind == PASTED) {
            int64_t *corner = own.window;
            changes.failed = !paste(&own.rows, corner[1], height, mask->box[1], mask->box[3], mask->height - 2);
            changes.failed |= !paste(&own.columns, corner[0], width, mask->box[0], mask->box[2], mask->width - 2);
            corner[0] = corner[1] = 0, corner[2] = width, corner[3] = height;
        }
        if (!changes.failed) paint(&own, &changes);
        if (mask->kind == PASTED) {
            free((void *)own.rows.near), free((void *)own.rows.weight);
            free((void *)own.columns.near), free((void *)own.columns.weight);
        }
    }
    mask->runs = lengths_of(&changes, width > 0 && height > 0 ? width * height : 0, &mask->count);
    if (mask->runs == NULL) free(changes.position);
    return mask->runs != NULL;
}

EXPORT void maskserve_release(Mask *mask) {
    free(mask->runs), free(mask->sums);
    mask->runs = NULL, mask->sums = NULL;
}

/* Write COCO's compressed counts of run lengths; `text` has room for 8 characters a run. Returns their number. */
EXPORT int64_t maskserve_encode(const int64_t *runs, int64_t count, char *text) {
    char *end = text;
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i > 2 ? runs[i] - runs[i - 2] : runs[i];
        for (int more = 1; more;) {
            int64_t group = rest & 0x1f;
            rest >>= 5;
            more = rest != (group & 0x10 ? -1 : 0);
            *end++ = (char)((more ? group | 0x20 : group) + 48);
        }
    }
    return end - text;
}
