// An output-stationary systolic array and its controller. Results wait in their PE until their whole column is there,
// then leave downwards, through registers of their own (OVERLAP) or through those of the sums.

// One PE. Tokens come with the operands from the left: `first` clears the sum, `done` ends it, `tail` marks the fold's
// last row. A result that moves takes the place below it, every cycle.
module os_pe
  import types::*;
#(
    parameter bit OVERLAP = 1
) (
    input  logic  clk,
    input  logic  reset,
    input  word_t a_in,
    input  logic  active_in,
    input  logic  first_in,
    input  logic  done_in,
    input  logic  tail_in,
    output word_t a_out,
    output logic  active_out,
    output logic  first_out,
    output logic  done_out,
    output logic  tail_out,
    input  word_t b_in,
    output word_t b_out,
    input  logic  go,
    output logic  ends,
    input  logic  moves_in,
    input  word_t result_in,
    output logic  moves_out,
    output word_t result_out,
    output logic  collides
);
  word_t acc, drain, summed;
  logic waiting, moving;
  assign summed = (first_in ? '0 : acc) + a_in * b_in;
  assign ends = active_in & done_in & tail_in;
  assign moves_out = moving | (waiting & go);
  assign result_out = OVERLAP ? drain : acc;
  // Nothing may arrive where a result waits, or be summed where one passes.
  logic sums;  // the sum's register is needed this cycle, and not for the result that passes
  assign sums = active_in & (OVERLAP ? done_in : 1'b1);
  assign collides = (moves_in & ((waiting & ~go) | sums)) | (~OVERLAP & moves_out & active_in & ~first_in);

  always_ff @(posedge clk) begin
    a_out <= a_in;
    b_out <= b_in;
    active_out <= active_in & ~reset;
    first_out <= first_in;
    done_out <= done_in;
    tail_out <= tail_in;
    if (active_in) acc <= summed;
    else if (~OVERLAP & moves_in) acc <= result_in;
    if (active_in & done_in) drain <= summed;
    else if (moves_in) drain <= result_in;
    waiting <= ~reset & ((active_in & done_in) | (waiting & ~moves_out));
    moving  <= ~reset & moves_in & ~(active_in & done_in);
  end
endmodule

// As array_ws.
module array_os
  import types::*;
#(
    parameter int R = 4,
    parameter int C = 4,
    parameter bit OVERLAP = 1
) (
    input  logic  clk,
    input  logic  reset,
    input  int    M,
    input  int    N,
    input  int    K,
    input  int    count,
    input  fold_t folds[MOST_FOLDS],
    input  word_t a    [MOST_WORDS],
    input  word_t b    [MOST_WORDS],
    output logic  wrote[C],
    output int    at   [C],
    output word_t sum  [C],
    output logic  collision
);
  // Controller: the next fold starts when the operands are free to enter, and when its results will find the way down
  // free: `clear` cycles from now the last fold's will have left the upper left PE.
  int fold, left, clear, step;
  logic streaming, start, stream, last;
  fold_t now;
  always_comb begin
    now = folds[fold];
    start = ~streaming & fold < count & (OVERLAP ? clear <= now.t : clear <= 1);
    stream = start | streaming;
    step = start ? 0 : left;
    last = stream & (step == now.t - 1);
  end
  always_ff @(posedge clk) begin
    streaming <= stream & ~last;
    left <= step + 1;
    fold <= fold + int'(last);
    // Of the fold that starts now: its t steps, and the r results of a column behind each other.
    clear <= start ? now.t + now.r - 1 : clear - int'(clear > 0);
    if (reset) begin
      streaming <= 0;
      fold <= 0;
      clear <= 0;
    end
  end

  word_t left_edge[R][R], top_edge[C][C];
  logic active_edge[R][R], tail_edge[R][R], first_edge[R], done_edge[R];
  always_comb begin
    for (int i = 0; i < R; i++) begin
      active_edge[0][i] = stream & i < now.r;
      tail_edge[0][i]   = i == now.r - 1;
      left_edge[0][i]   = active_edge[0][i] ? a[(now.item*M+now.row0+i)*K+now.step0+step] : '0;
    end
    for (int j = 0; j < C; j++)
      top_edge[0][j] = stream & j < now.c ? b[(now.item*K+now.step0+step)*N+now.col0+j] : '0;
    first_edge[0] = start;
    done_edge[0]  = last;
  end
  always_ff @(posedge clk) begin
    for (int d = 1; d < R; d++) begin
      left_edge[d] <= left_edge[d-1];
      tail_edge[d] <= tail_edge[d-1];
      first_edge[d] <= first_edge[d-1];
      done_edge[d] <= done_edge[d-1];
      for (int i = 0; i < R; i++) active_edge[d][i] <= active_edge[d-1][i] & ~reset;
    end
    for (int d = 1; d < C; d++) top_edge[d] <= top_edge[d-1];
  end

  word_t across[R][C+1], down[R+1][C], result[R+1][C];
  logic active[R][C+1], first[R][C+1], done[R][C+1], tail[R][C+1], moves[R+1][C];
  logic [R-1:0] ends[C];
  logic [R*C-1:0] collides;
  logic go[C];
  for (genvar i = 0; i < R; i++) begin : row
    assign across[i][0] = left_edge[i][i];
    assign active[i][0] = active_edge[i][i];
    assign tail[i][0]   = tail_edge[i][i];
    assign first[i][0]  = first_edge[i];
    assign done[i][0]   = done_edge[i];
    for (genvar j = 0; j < C; j++) begin : col
      os_pe #(OVERLAP) pe (
          clk, reset, across[i][j], active[i][j], first[i][j], done[i][j], tail[i][j],
          across[i][j+1], active[i][j+1], first[i][j+1], done[i][j+1], tail[i][j+1],
          down[i][j], down[i+1][j], go[j], ends[j][i], moves[i][j], result[i][j], moves[i+1][j], result[i+1][j],
          collides[i*C+j]
      );
    end
  end
  assign collision = |collides;

  // What leaves a column are the results of its folds in turn, the last row first.
  int out_fold[C], out_left[C];
  for (genvar j = 0; j < C; j++) begin : edges
    fold_t out;
    int row_left;
    assign down[0][j]   = top_edge[j][j];
    assign moves[0][j]  = 0;
    assign result[0][j] = '0;
    assign out = folds[out_fold[j]];
    assign row_left = out_left[j] > 0 ? out_left[j] : out.r;
    assign wrote[j] = moves[R][j] & j < out.c;
    assign at[j] = (out.item * M + out.row0 + row_left - 1) * N + out.col0 + j;
    assign sum[j] = result[R][j];
    always_ff @(posedge clk) begin
      go[j] <= ~reset & |ends[j];
      if (moves[R][j]) begin
        out_left[j] <= row_left - 1;
        out_fold[j] <= out_fold[j] + int'(row_left == 1);
      end
      if (reset) begin
        out_left[j] <= 0;
        out_fold[j] <= 0;
      end
    end
  end
endmodule
