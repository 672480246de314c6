/* Every pixel of some columns, eight rows at a time: where the outline runs through most cells this costs less than to
   look for it. Values along rows are computed where rows lie one after another, values along columns where eight rows
   lie side by side: no index is looked up for a single value. */

#include "mask.h"

enum { LANES = 8, BAND = 64 };      /* rows that lie side by side; rows that become one word of bits */

typedef float Four __attribute__((vector_size(16)));
typedef int32_t Fours __attribute__((vector_size(16)));

#if defined(__clang__) || __GNUC__ >= 12
#define PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define PICK(a, b, i, j, k, l) __builtin_shuffle(a, b, (Fours){i, j, k, l})
#endif

typedef struct {
    const Mask *mask;
    int64_t x0, x1;                 /* columns of the image */
    int64_t left, count;            /* what they are made of: ONCE samples, TWICE enlarged samples */
    int64_t first, samples;         /* TWICE: what those are made of */
    int64_t pitch, rows;            /* `count`, and the most enlarged rows of a band, with some to spare */
    int64_t words;                  /* of a column */
    float *lines;                   /* [LANES, pitch], values along rows */
    float *turned;                  /* [pitch, LANES], the same: what columns lie between */
    float *crossed;                 /* [pitch, LANES], TWICE: enlarged samples, */
    float *enlarged;                /* [rows, pitch], and those of all rows of a band */
    int32_t *near, *far;            /* TWICE: [count], where the samples of each enlarged one are in `turned` */
    uint64_t *bits;                 /* [x1 - x0, words], which pixels are in the mask */
} Tile;

static inline Four load(const float *from) { Four four; memcpy(&four, from, sizeof four); return four; }

static inline void store(float *to, Four four) { memcpy(to, &four, sizeof four); }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void blend(float *restrict result, const float *near, const float *far, float weight, int64_t count) {
    for (int64_t i = 0; i < count; i++) result[i] = (far[i] - near[i]) * weight + near[i];
}

/* Turn four lines of four values. */
static inline void turn(const float *from, int64_t pitch, float *to, int64_t step) {
    Four a = load(from), b = load(from + pitch), c = load(from + 2 * pitch), d = load(from + 3 * pitch);
    Four ab = PICK(a, b, 0, 4, 1, 5), cd = PICK(c, d, 0, 4, 1, 5);
    Four over = PICK(a, b, 2, 6, 3, 7), under = PICK(c, d, 2, 6, 3, 7);
    store(to, PICK(ab, cd, 0, 1, 4, 5)), store(to + step, PICK(ab, cd, 2, 3, 6, 7));
    store(to + 2 * step, PICK(over, under, 0, 1, 4, 5)), store(to + 3 * step, PICK(over, under, 2, 3, 6, 7));
}

/* [LANES, pitch] to [count, LANES] */
static void turn_lines(const Tile *tile, int64_t count) {
    for (int64_t i = 0; i < count; i += 4)
        for (int64_t half = 0; half < LANES; half += 4)
            turn(tile->lines + half * tile->pitch + i, tile->pitch, tile->turned + i * LANES + half, LANES);
}

static inline void cross(const float *near, const float *far, float weight, Four result[2]) {
    for (int half = 0; half < 2; half++) {
        Four from = load(near + 4 * half);
        result[half] = (load(far + 4 * half) - from) * weight + from;
    }
}

/* Enlarge the samples that a band's rows are made of: the rows from `top` to `bottom`. */
static void enlarge_band(Tile *tile, int64_t top, int64_t bottom) {
    const Mask *mask = tile->mask;
    const Line *rows = &mask->first_rows;
    const int64_t inside[2] = {clamp(mask->crop[0] - tile->left, tile->count),  /* outside of the crop there are zeros */
                               clamp(mask->crop[2] - tile->left, tile->count)};
    for (int64_t start = top; start < bottom; start += LANES) {
        for (int64_t lane = 0; lane < LANES; lane++) {
            int64_t y = least(start + lane, bottom - 1);
            const float *near = mask->samples + clamp(rows->near[y] - mask->top, mask->height - 1) * mask->stride;
            const float *far = mask->samples + clamp(rows->far[y] - mask->top, mask->height - 1) * mask->stride;
            blend(tile->lines + lane * tile->pitch, near + tile->first, far + tile->first, rows->weight[y],
                  tile->samples);
        }
        turn_lines(tile, tile->samples);
        const float *weight = mask->first_columns.weight + tile->left, *turned = tile->turned;
        float *result = tile->crossed;
        const int32_t *near = tile->near, *far = tile->far;
        for (int64_t i = inside[0]; i < inside[1]; i++) {
            Four values[2];
            cross(turned + near[i], turned + far[i], weight[i], values);
            store(result + i * LANES, values[0]), store(result + i * LANES + 4, values[1]);
        }
        result = tile->enlarged + (start - top) * tile->pitch;
        for (int64_t i = 0; i < tile->count; i += 4)
            for (int64_t half = 0; half < LANES; half += 4)
                turn(tile->crossed + i * LANES + half, LANES, result + half * tile->pitch + i, tile->pitch);
        for (int64_t lane = 0; lane < LANES; lane++)
            if (start + lane < mask->crop[1] || start + lane >= mask->crop[3])
                memset(result + lane * tile->pitch, 0, (size_t)tile->pitch * sizeof *result);
    }
}

/* Which of the pixels from row `y` on, LANES of them, are in the mask: bits from `place` on of each column's word. */
static void fill(Tile *tile, const float *source, int64_t step, int64_t y, int64_t place) {
    const Mask *mask = tile->mask;
    const Line *rows = &mask->rows, *columns = &mask->columns;
    const float threshold = (float)mask->threshold;
    for (int64_t lane = 0; lane < LANES; lane++) {
        int64_t row = least(y + lane, mask->window[3] - 1);
        blend(tile->lines + lane * tile->pitch, source + rows->near[row] * step, source + rows->far[row] * step,
              rows->weight[row], tile->count);
    }
    turn_lines(tile, tile->count);
    uint64_t *word = tile->bits + place / BAND;
    for (int64_t x = tile->x0; x < tile->x1; x++, word += tile->words) {
        const float *near = tile->turned + (columns->near[x] - tile->left) * LANES;
        const float *far = tile->turned + (columns->far[x] - tile->left) * LANES;
        Four values[2], limit = {threshold, threshold, threshold, threshold};
        cross(near, far, columns->weight[x], values);
        Fours inside = ((values[0] > limit) & (Fours){1, 2, 4, 8}) | ((values[1] > limit) & (Fours){16, 32, 64, 128});
        inside |= PICK(inside, inside, 2, 3, 0, 1);
        *word |= (uint64_t)(inside[0] | inside[1]) << place % BAND;
    }
}

static int ready(Tile *tile, const Mask *mask, int64_t x0, int64_t x1) {
    int64_t height = mask->window[3] - mask->window[1], right = mask->columns.far[x1 - 1];
    *tile = (Tile){.mask = mask, .x0 = x0, .x1 = x1, .left = mask->columns.near[x0]};
    tile->count = right + 1 - tile->left, tile->words = (height + BAND - 1) / BAND;
    if (mask->kind == TWICE) {
        tile->first = clamp(mask->first_columns.near[tile->left] - mask->left, mask->width - 1);
        tile->samples = clamp(mask->first_columns.far[right] - mask->left, mask->width - 1) + 1 - tile->first;
        for (int64_t y = mask->window[1]; y < mask->window[3]; y += BAND) {
            int64_t end = least(y + BAND, mask->window[3]), rows = mask->rows.far[end - 1] + 1 - mask->rows.near[y];
            if (rows > tile->rows) tile->rows = rows;
        }
        tile->rows = (tile->rows + LANES - 1) / LANES * LANES;
    }
    int64_t wide = tile->count > tile->samples ? tile->count : tile->samples;
    tile->pitch = (wide + 3) / 4 * 4;
    tile->lines = fresh(LANES * tile->pitch, sizeof(float)), tile->turned = fresh(LANES * tile->pitch, sizeof(float));
    tile->crossed = fresh(LANES * tile->pitch, sizeof(float));
    tile->enlarged = fresh(tile->rows * tile->pitch, sizeof(float));
    tile->bits = fresh((x1 - x0) * tile->words, sizeof *tile->bits);
    tile->near = fresh(tile->count, sizeof *tile->near), tile->far = fresh(tile->count, sizeof *tile->far);
    for (int64_t i = 0; mask->kind == TWICE && i < tile->count && tile->near && tile->far; i++) {
        const Line *line = &mask->first_columns;
        int64_t x = tile->left + i, near = clamp(line->near[x] - mask->left, mask->width - 1) - tile->first;
        tile->near[i] = (int32_t)(near * LANES);
        tile->far[i] = (int32_t)((clamp(line->far[x] - mask->left, mask->width - 1) - tile->first) * LANES);
    }
    return tile->lines && tile->turned && tile->crossed && tile->enlarged && tile->bits && tile->near && tile->far;
}

static void changes_of(const Tile *tile, Changes *changes) {
    const int64_t *window = tile->mask->window;
    int64_t height = window[3] - window[1];
    for (int64_t x = tile->x0; x < tile->x1 && !changes->failed; x++) {
        const uint64_t *word = tile->bits + (x - tile->x0) * tile->words;
        changes->base = (x - window[0]) * height;
        reserve(changes, height + 2);
        if (changes->failed) return;
        for (int64_t row = 0; row < height; row += BAND, word++) {
            int64_t rows = least(BAND, height - row);
            uint64_t different = *word ^ (*word << 1 | (uint64_t)changes->state);
            if (rows < BAND) different &= ((uint64_t)1 << rows) - 1;
            for (; different; different &= different - 1)
                changes->position[changes->count++] = changes->base + row + __builtin_ctzll(different);
            changes->state = (int)(*word >> (rows - 1) & 1);
        }
    }
}

void tile_of(const Mask *mask, Changes *changes, int64_t x0, int64_t x1) {
    Tile tile;
    if (!ready(&tile, mask, x0, x1)) changes->failed = 1;
    for (int64_t y = mask->window[1]; y < mask->window[3] && !changes->failed; y += BAND) {
        int64_t end = least(y + BAND, mask->window[3]), step = mask->stride, top = mask->rows.near[y];
        const float *source = mask->samples + tile.left;
        if (mask->kind == TWICE) {
            enlarge_band(&tile, top, mask->rows.far[end - 1] + 1);
            step = tile.pitch, source = tile.enlarged - top * step;
        }
        for (int64_t row = y; row < end; row += LANES) fill(&tile, source, step, row, row - mask->window[1]);
    }
    if (!changes->failed) changes_of(&tile, changes);
    free(tile.lines), free(tile.turned), free(tile.crossed), free(tile.enlarged), free(tile.bits);
    free(tile.near), free(tile.far);
}
