/* Samples that are probabilities of weighted sums of planes: the sums are computed everywhere, the probabilities where
   pixels depend on them. The arithmetic is that of painting/sums.py, in its order. */

#include "mask.h"

enum { LANES = 4, VECTORS = 8 };    /* numbers of a vector; vectors whose sums stay in registers */

typedef float Four __attribute__((vector_size(16)));

/* The sums of a row: `planes` are `pitch` apart. */
static void sum_row(float *restrict sums, const float *planes, int64_t pitch, const float *weights, int64_t count,
                    int64_t width) {
    int64_t x = 0;
    for (; x + LANES * VECTORS <= width; x += LANES * VECTORS) {
        Four total[VECTORS] = {{0}}, four;
        for (int64_t k = 0; k < count; k++) {
            const float *from = planes + k * pitch + x, weight = weights[k];
            for (int i = 0; i < VECTORS; i++) memcpy(&four, from + LANES * i, sizeof four), total[i] += weight * four;
        }
        memcpy(sums + x, total, sizeof total);
    }
    for (; x + LANES <= width; x += LANES) {
        Four total = {0}, four;
        for (int64_t k = 0; k < count; k++) memcpy(&four, planes + k * pitch + x, sizeof four), total += weights[k] * four;
        memcpy(sums + x, &total, sizeof total);
    }
    for (; x < width; x++) {
        float total = 0;
        for (int64_t k = 0; k < count; k++) total += weights[k] * planes[k * pitch + x];
        sums[x] = total;
    }
}

/* The part of the planes that masks read. */
typedef struct {
    int64_t top, bottom, left, right;
    const Mask *any;                /* one of the masks; NULL where none has planes */
} Part;

static Part part_of(const Mask *masks, int64_t count) {
    Part part = {.any = NULL};
    for (const Mask *mask = masks; mask < masks + count; mask++) {
        if (!mask->planes) continue;
        int64_t bottom = mask->top + mask->height, right = mask->left + mask->width;
        if (part.any == NULL) part = (Part){mask->top, bottom, mask->left, right, mask};
        part.top = mask->top < part.top ? mask->top : part.top, part.bottom = bottom > part.bottom ? bottom : part.bottom;
        part.left = mask->left < part.left ? mask->left : part.left, part.right = right > part.right ? right : part.right;
    }
    return part;
}

/* Put row `y` of all planes together, `pitch` apart. */
static void put_together(float *row, const Part *part, int64_t y, int64_t pitch) {
    const Mask *any = part->any;
    const float *from = any->samples + (y - any->top) * any->stride + part->left - any->left;
    for (int64_t k = 0; k < any->planes; k++) memcpy(row + k * pitch, from + k * any->plane, (size_t)pitch * sizeof *row);
}

/* Compute the sums of masks whose planes are parts of the same ones. A row of all planes is put together first: apart,
   as many planes as the cache has ways fall into the same place of it. Returns 0 where memory is short. */
int sums_of(Mask *masks, int64_t count) {
    Part part = part_of(masks, count);
    int64_t pitch = part.right - part.left;
    float *row = fresh(part.any ? part.any->planes * pitch : 0, sizeof *row);
    int failed = row == NULL;
    for (int64_t i = 0; i < count; i++) {
        masks[i].sums = masks[i].planes ? fresh(masks[i].height * masks[i].width, sizeof(float)) : NULL;
        failed |= masks[i].planes && masks[i].sums == NULL;
    }
    for (int64_t y = part.top; y < part.bottom && !failed; y++) {
        put_together(row, &part, y, pitch);
        for (const Mask *mask = masks; mask < masks + count; mask++)
            if (mask->planes && y >= mask->top && y < mask->top + mask->height)
                sum_row(mask->sums + (y - mask->top) * mask->width, row + mask->left - part.left, pitch, mask->weights,
                        mask->planes, mask->width);
    }
    free(row);
    return !failed;
}

static inline float from_bits(uint32_t bits) { float value; memcpy(&value, &bits, sizeof value); return value; }

static inline uint32_t to_bits(float value) { uint32_t bits; memcpy(&bits, &value, sizeof bits); return bits; }

/* 1 / (1 + exp(-x)); exp(y) is 2 to the power of the whole number n next to y / log(2), times a polynomial of the rest.
   Adding `magic` rounds to whole numbers, which are in the last bits then. */
static inline float probability(float sum) {
    static const float magic = 12582912;  /* 1.5 * 2**23 */
    float y = -sum;
    y = y < -87 ? -87 : y;
    y = y > 87 ? 87 : y;
    float shifted = y * 1.44269504f + magic, n = shifted - magic;
    float rest = (y - n * 0.693359375f) - n * -2.12194440e-4f;
    float power = 1.98756915e-4f;
    power = power * rest + 1.39819995e-3f;
    power = power * rest + 8.33345191e-3f;
    power = power * rest + 4.16657962e-2f;
    power = power * rest + 1.66666654e-1f;
    power = power * rest + 5.00000012e-1f;
    power = (power * (rest * rest) + rest) + 1;
    return 1 / (1 + power * from_bits((to_bits(shifted) - to_bits(magic) + 127) << 23));
}

static void probabilities(float *restrict values, const float *restrict sums, int64_t count) {
    for (int64_t i = 0; i < count; i++) values[i] = probability(sums[i]);
}

/* Whether one of eight cells from column `x` on, in the rows from `first` to `last`, is 0. */
static int is_uncertain(const uint8_t *cells, int64_t wide, int64_t x, int64_t first, int64_t last) {
    uint64_t some = 0, eight;
    for (int64_t y = first; y <= last; y++) {
        memcpy(&eight, cells + y * wide + x, 8);  /* `cells` has 8 more than there are */
        some |= (eight - 0x0101010101010101ull) & ~eight & 0x8080808080808080ull;
    }
    return some != 0;
}

/* Turn the sums of cells into probabilities where `cells` [rows, columns] are 0; each cell reaches some samples on. */
void probabilities_of(float *values, const float *sums, const Mask *mask, const uint8_t *cells, const Strips *rows,
                      const Strips *columns) {
    int64_t wide = columns->count, reach = columns->reach, end = mask->width - columns->base;
    for (int64_t y = 0; y < rows->count + rows->reach; y++) {
        int64_t first = clamp(y - rows->reach, rows->count - 1), last = clamp(y, rows->count - 1);
        int64_t place = clamp(rows->base + y, mask->height - 1) * mask->width + columns->base;
        for (int64_t x = 0, from = 0; x < wide; from = x += 8) {
            while (x < wide && is_uncertain(cells, wide, x, first, last)) x += 8;
            int64_t to = x + reach < end ? x + reach : end;
            if (x > from && to > from) probabilities(values + place + from, sums + place + from, to - from);
        }
    }
}
