// What the arrays are given: folds in the order they run, and where they lie in the operands.
package types;
  localparam int WORD = 32, MOST_FOLDS = 4096, MOST_WORDS = 1 << 14;
  typedef logic signed [WORD-1:0] word_t;

  // r rows by c columns of a product on the array, t steps of time.
  typedef struct {
    int row0, col0, step0, r, c, t, item;
  } fold_t;
endpackage
