/* Samples that are probabilities of weighted sums of planes: the sums are computed everywhere, the probabilities where
   pixels depend on them. The arithmetic is that of painting/sums.py, in its order. */

#include "mask.h"

enum { AT_ONCE = 4, ROWS = 8 };     /* planes that are added in one go; rows of the planes that stay in the cache */

static void add(float *restrict sums, const float *a, const float *b, const float *c, const float *d,
                const float weight[AT_ONCE], int64_t count) {
    for (int64_t i = 0; i < count; i++)
        sums[i] = (((sums[i] + weight[0] * a[i]) + weight[1] * b[i]) + weight[2] * c[i]) + weight[3] * d[i];
}

static void add_one(float *restrict sums, const float *plane, float weight, int64_t count) {
    for (int64_t i = 0; i < count; i++) sums[i] += weight * plane[i];
}

/* Add the planes to the sums of the rows from `from` to `to`. */
static void add_planes(Mask *mask, int64_t from, int64_t to) {
    int64_t width = mask->width, k = 0;
    for (; k + AT_ONCE <= mask->planes; k += AT_ONCE) {
        for (int64_t y = from; y < to; y++) {
            const float *a = mask->samples + k * mask->plane + y * mask->stride, *b = a + mask->plane;
            add(mask->sums + y * width, a, b, b + mask->plane, b + 2 * mask->plane, mask->weights + k, width);
        }
    }
    for (; k < mask->planes; k++)
        for (int64_t y = from; y < to; y++)
            add_one(mask->sums + y * width, mask->samples + k * mask->plane + y * mask->stride, mask->weights[k], width);
}

/* Compute the sums of masks whose planes are parts of the same ones, some rows at a time: what a mask reads of them is
   in the cache for the next one. Returns 0 where memory is short. */
int sums_of(Mask *masks, int64_t count) {
    int64_t first = 0, last = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t bottom = masks[i].top + masks[i].height;
        first = i && first < masks[i].top ? first : masks[i].top, last = i && last > bottom ? last : bottom;
        masks[i].sums = masks[i].planes ? fresh(masks[i].height * masks[i].width, sizeof(float)) : NULL;
        if (masks[i].planes && masks[i].sums == NULL) return 0;
    }
    for (int64_t row = first; row < last; row += ROWS)
        for (int64_t i = 0; i < count; i++)
            add_planes(masks + i, clamp(row - masks[i].top, masks[i].height),
                       clamp(row + ROWS - masks[i].top, masks[i].height));
    return 1;
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
