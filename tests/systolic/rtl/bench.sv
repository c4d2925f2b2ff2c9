// Runs every array on every product of a file (+cases=FILE: lines of `M N K parts items`) and prints, per array,
//   dataflow R C overlap cycles mismatches
// cycles count from the first element in to the last result in the last row's register; mismatches are outputs that
// differ from the product, results written where they do not belong, and registers that two values claimed.

module run
  import types::*;
#(
    parameter bit OS = 0,
    parameter int R = 4,
    parameter int C = 4,
    parameter bit OVERLAP = 1
) (
    input logic clk,
    input logic reset,
    input int M,
    input int N,
    input int K,
    input int parts,
    input int items,
    input word_t a[MOST_WORDS],
    input word_t b[MOST_WORDS],
    output logic finished
);
  fold_t folds[MOST_FOLDS];
  word_t out[MOST_WORDS];
  logic wrote[C], collision;
  int at[C], count, cycle, last, got, expected, faults;
  word_t sum[C];
  if (OS) begin : os
    array_os #(R, C, OVERLAP) array (.*);
  end else begin : ws
    array_ws #(R, C, OVERLAP) array (.*);
    assign collision = 0;
  end

  // The folds of each item: chunks of time, the longer ones first, then columns, then rows.
  function automatic void lay_out();
    int sr = OS ? M : K, t = OS ? K : M, step0, length;
    count = 0;
    expected = 0;
    for (int item = 0; item < items; item++) begin
      step0 = 0;
      for (int part = 0; part < parts; part++) begin
        length = t / parts + int'(part < t % parts);
        for (int j = 0; j < N; j += C)
          for (int i = 0; i < sr; i += R) begin
            folds[count] = '{i, j, step0, sr - i < R ? sr - i : R, N - j < C ? N - j : C, length, item};
            expected += folds[count].c * (OS ? folds[count].r : length);
            count++;
          end
        step0 += length;
      end
    end
  endfunction

  function automatic int differences();
    word_t exact;
    differences = 0;
    for (int item = 0; item < items; item++)
      for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) begin
          exact = 0;
          for (int k = 0; k < K; k++) exact += a[(item*M+m)*K+k] * b[(item*K+k)*N+n];
          differences += int'(exact != out[(item*M+m)*N+n]);
        end
  endfunction

  always_ff @(posedge clk) begin
    cycle <= cycle + 1;
    for (int j = 0; j < C; j++)
      if (wrote[j]) begin
        out[at[j]] = out[at[j]] + sum[j];
        got = got + 1;
        last <= cycle;
      end
    if (collision) faults <= faults + 1;
    if (reset) begin
      lay_out();
      cycle <= 0;
      got = 0;
      faults <= 0;
      for (int i = 0; i < items * M * N; i++) out[i] = '0;
    end
    // A while longer, to see whether something comes that should not.
    finished <= ~reset & got >= expected & cycle > last + 2 * (R + C);
  end

  task automatic say();
    $display("%s %0d %0d %0d %0d %0d", OS ? "os" : "ws", R, C, OVERLAP, last, differences() + faults + got - expected);
  endtask
endmodule

module bench
  import types::*;
();
  localparam int SIZES = 6;
  localparam int ROWS[SIZES] = '{1, 2, 3, 4, 7, 8};
  localparam int COLS[SIZES] = '{1, 3, 2, 4, 5, 3};
  logic clk, reset;
  int M = 1, N = 1, K = 1, parts = 1, items = 1, file;
  string name;
  word_t a[MOST_WORDS], b[MOST_WORDS];
  logic [4*SIZES-1:0] finished, saying;

  for (genvar g = 0; g < 4 * SIZES; g++) begin : arrays
    run #(g % 2 == 1, ROWS[g/4], COLS[g/4], g / 2 % 2 == 1) one (clk, reset, M, N, K, parts, items, a, b, finished[g]);
    always @(posedge saying[g]) one.say();
  end

  initial begin
    clk = 0;
    forever #1 clk = ~clk;
  end

  initial begin
    if (!$value$plusargs("cases=%s", name)) $fatal(1, "+cases=FILE");
    file = $fopen(name, "r");
    while ($fscanf(file, "%d %d %d %d %d", M, N, K, parts, items) == 5) begin
      for (int i = 0; i < items * M * K; i++) a[i] = word_t'($signed(8'($urandom)));
      for (int i = 0; i < items * K * N; i++) b[i] = word_t'($signed(8'($urandom)));
      reset  = 1;
      saying = 0;
      repeat (2) @(negedge clk);
      reset = 0;
      @(negedge clk);
      while (!(&finished)) @(negedge clk);
      $display("case %0d %0d %0d %0d %0d", M, N, K, parts, items);
      saying = '1;
      @(negedge clk);
    end
    $finish;
  end
endmodule
