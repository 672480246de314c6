/* Run lengths of enlarged masks, along their outlines: what painting/once.py, pasted.py and twice.py compute, sooner.

   The arithmetic is the same in the same order, in single precision and without fused operations (-ffp-contract=off),
   so that both make the same masks, bit for bit. Needs nothing but malloc and free: no Python, so that one library
   serves every version of it. library.py has the structure `Mask` and its numbers once more. */

#ifndef MASKSERVE_MASK_H
#define MASKSERVE_MASK_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ONCE, TWICE, PASTED };             /* how pixels are made of samples */
static const double ROUNDING = 1.0 / (1 << 16);  /* see codes.py */
enum { UNSURE = 0, IN = 1, OUT = 2 };     /* on which side samples are, see codes.py; joined by "and" */

typedef struct {
    const int64_t *near, *far;            /* each pixel's two samples */
    const float *weight;                  /* of the second one */
} Line;

typedef struct {
    int64_t kind;
    const float *samples;
    int64_t height, width, stride;        /* of the samples; from a row of them to the next */
    int64_t top, left;                    /* TWICE: where they are in the grid of all */
    Line rows, columns;                   /* ONCE, TWICE: of the image */
    Line first_rows, first_columns;       /* TWICE: of the enlarged samples that the above are made of */
    int64_t crop[4], window[4];           /* x0, y0, x1, y1: of enlarged samples that are not zero; of pixels */
    float box[4];                         /* PASTED: x0, y0, x1, y1 in pixels, what the samples are stretched over */
    double threshold;
    const float *weights;                 /* TWICE: [planes], where samples are probabilities of sums of planes */
    int64_t planes, plane;                /* how many planes `samples` has, 0 for plain samples; from one to the next */
    float bounds[2];                      /* of the sums: below the first, above the second they are certain */
    float *sums;                          /* [height, width], of the planes, see sums.c; `release` takes them back */
    int64_t *runs, count;                 /* the answer; `release` takes `runs` back */
} Mask;

typedef struct {
    int64_t base, count, reach;           /* the first sample; strips of pixels, each from a sample of its own */
    int64_t *start;                       /* [count + 1], each strip's first pixel */
    uint8_t *cut;                         /* [count], whether pixels depend on what is outside of the crop */
    int64_t enlarged;                     /* the most enlarged samples of a strip */
} Strips;

typedef struct {
    int64_t from, to;                     /* strips of rows, those between included */
} Stretch;

typedef struct {
    int64_t *position, count, room;       /* where the mask changes */
    int64_t base;                         /* the position of the column's first pixel, minus its row */
    int state, failed;
} Changes;

static inline int64_t clamp(int64_t value, int64_t most) { return value < 0 ? 0 : value > most ? most : value; }

static inline void *fresh(int64_t count, size_t size) { return calloc(count > 0 ? (size_t)count : 1, size); }

static inline uint8_t code(float value, float below, float above) {
    return (uint8_t)((value > above) | (value < below) << 1);
}

static inline void change(Changes *changes, int64_t row, int value) {
    if (changes->state != value) {
        changes->position[changes->count++] = changes->base + row;
        changes->state = value;
    }
}

/* outline.c: where the outline may be */
int strips_of(Strips *strips, const Mask *mask, int along_rows);
float magnitude(const Mask *mask, const Strips *rows, const Strips *columns);
uint8_t *cells_of(const Mask *mask, const Strips *rows, const Strips *columns, const float samples[2],
                  const float zero[2]);
Stretch *stretches_of(const uint8_t *cells, const Strips *rows, const Strips *columns, int64_t *first);

/* sums.c: samples that are probabilities of weighted sums */
int sums_of(Mask *masks, int64_t count);
void probabilities_of(float *values, const float *sums, const Mask *mask, const uint8_t *cells, const Strips *rows,
                      const Strips *columns);

/* changes.c: where the mask changes */
void reserve(Changes *changes, int64_t more);
void scan(Changes *changes, int64_t row, const uint8_t *inside, int64_t count);
int64_t *lengths_of(Changes *changes, int64_t pixels, int64_t *count);

/* pixels.c: on which side the pixels near the outline are */
void paint(const Mask *mask, Changes *changes);

/* tiles.c: the same for all pixels of the columns from x0 to x1, which are in the window */
void tile_of(const Mask *mask, Changes *changes, int64_t x0, int64_t x1);

#endif
