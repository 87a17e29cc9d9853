# Fits every case of cases.json with lavaan and writes fit measures and parameter estimates to
# continuous.json and ordinal.json. A parameter is [lhs, op, rhs, group, label, est, se, pvalue, std.lv, std.all].
# Run in this folder: Rscript data.R && Rscript make.R
suppressMessages({library(lavaan); library(jsonlite)})
cases <- fromJSON("cases.json", simplifyVector = TRUE, simplifyDataFrame = FALSE)
read <- list(hs = "../hs1939.csv", political = "political.csv", growth = "growth.csv", bfi = "bfi.csv", clinic = "clinic.csv")
data <- lapply(read, read.csv)
only <- commandArgs(TRUE)
result <- list()
for (name in names(cases)) {
  if (length(only) && !(name %in% only)) next
  case <- cases[[name]]
  frame <- data[[case$data]]
  arguments <- list(model = case$model, data = frame)
  for (key in c("estimator", "group", "group_equal", "group_partial", "std_lv", "orthogonal", "meanstructure", "missing",
                "cluster", "parameterization"))
    if (!is.null(case[[key]])) arguments[[gsub("_", ".", key)]] <- case[[key]]
  if (!is.null(case$ordered)) arguments$ordered <- case$ordered
  auto <- if (is.null(case$auto)) "cfa" else case$auto
  fit <- suppressWarnings(do.call(auto, arguments))
  pe <- parameterEstimates(fit, standardized = TRUE, remove.system.eq = TRUE)
  pe <- pe[pe$op != "==", ]
  if (is.null(pe$group)) pe$group <- 1
  if (is.null(pe$label)) pe$label <- ""
  columns <- c("lhs", "op", "rhs", "group", "label", "est", "se", "pvalue", "std.lv", "std.all")
  measures <- unclass(fitMeasures(fit))
  result[[name]] <- list(
    fit = as.list(signif(measures, 9)),
    parameters = lapply(seq_len(nrow(pe)), function(i) unname(lapply(as.list(pe[i, columns]), function(v) if (is.numeric(v)) signif(v, 7) else v))),
    nobs = lavInspect(fit, "nobs"))
  cat(name, round(measures["chisq"], 3), measures["df"], "\n")
}
versions <- list(R = R.version.string, lavaan = as.character(packageVersion("lavaan")))
ordinal <- vapply(cases[names(result)], function(case) identical(case$estimator, "WLSMV"), TRUE)
for (part in list(list(file = "continuous.json", names = names(result)[!ordinal]), list(file = "ordinal.json", names = names(result)[ordinal]))) {
  if (length(only)) next
  body <- vapply(part$names, function(name)
    paste0("  ", toJSON(name, auto_unbox = TRUE), ": ", toJSON(result[[name]], auto_unbox = TRUE, digits = NA, na = "null")), "")
  writeLines(c("{", paste0(" \"versions\": ", toJSON(versions, auto_unbox = TRUE), ","), " \"cases\": {", paste(body, collapse = ",\n"), " }", "}"), part$file)
}
